//! A manager in a process of its own.

use super::{Server, interrupt};
use crate::codec::{self, Descriptor, Message};
use crate::connection::{Address, AuthKey, Listener, SocketFile};
use crate::function::{Context, Function, Refusal, Serve};
use crate::manager::error::ManagerError;
use crate::manager::managed::ManagedTypes;
use crate::process::Process;
use crate::program::Program;
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The name of the function that is a manager. Every registry has it.
pub(crate) const SERVER: &str = "multiprocessing::manager";

/// How long a manager may take to end before it is killed. Its own patience is shorter.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// What the process is given.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    door: Descriptor,
    address: Address,
    key: serde_bytes::ByteBuf,
    /// Its end is the end of the manager.
    wanted: Descriptor,
}

/// The function as whoever starts it names it.
struct Named;

impl Function for Named {
    const NAME: &'static str = SERVER;
    type Setup = ();
    type Argument = Start;
    type Value = ();

    fn open((): ()) -> Result<Named, String> {
        Err("it is served by the registry".into())
    }

    fn call(&mut self, _: Start, _: &Context<'_>) -> Result<(), String> {
        Err("it is served by the registry".into())
    }
}

/// The function as the registry serves it, with the registry's types.
pub(crate) struct Serving(pub(crate) ManagedTypes);

impl Serve for Serving {
    fn call(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, _: &Context<'_>) -> Result<Message, Refusal> {
        let start: Start = codec::decode(payload, descriptors)
            .map_err(|error| Refusal::Decode(format!("the argument of {SERVER}: {error}")))?;
        serve(start, self.0.clone()).map_err(|error| Refusal::Error(format!("cannot serve: {error}")))?;
        Ok(Message::plain(Vec::new()))
    }
}

fn serve(start: Start, types: ManagedTypes) -> io::Result<()> {
    let Start { door, address, key, wanted } = start;
    // A Ctrl-C is for whoever has started this, and may need its objects to end in an orderly way.
    interrupt::ignore()?;
    let listener = Listener::from_door(door.into_inner(), address, AuthKey::from(key.into_vec()))?;
    let mut server = Server::start(listener, types)?;
    // Nothing is ever written to it.
    let _ = PipeReader::from(wanted.into_inner()).read(&mut [0]);
    server.stop();
    Ok(())
}

/// The process, as whoever has started it sees it.
#[derive(Debug)]
pub(in crate::manager) struct ServerProcess {
    process: Process,
    wanted: Option<PipeWriter>,
    /// Removed when this is dropped.
    _file: Option<SocketFile>,
}

impl ServerProcess {
    /// Starts a process that accepts at this listener's place from then on.
    pub(in crate::manager) fn start(
        program: &Program,
        listener: Listener,
        key: &AuthKey,
    ) -> Result<ServerProcess, ManagerError> {
        let (reader, writer) = io::pipe()?;
        let address = listener.address().clone();
        // This process's own door is closed at the end of this, so that there is none once the manager's process has ended.
        let (door, file) = listener.into_door();
        let start = Start {
            door: Descriptor::from(door),
            address,
            key: key.as_bytes().to_vec().into(),
            wanted: Descriptor::from(reader),
        };
        let process = Process::builder(program).name("manager").daemon(true).start(Named, &start)?;
        Ok(ServerProcess { process, wanted: Some(writer), _file: file })
    }

    pub(in crate::manager) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Why it cannot be connected to: it has ended, if it has, or is just ending.
    pub(in crate::manager) fn why(&self, error: ManagerError) -> ManagerError {
        match self.process.join_timeout(Duration::from_millis(500)) {
            Ok(Some(status)) => ManagerError::Died(status),
            _ => error,
        }
    }

    /// Lets it end, and ends it if it does not.
    pub(in crate::manager) fn stop(&mut self) {
        self.wanted = None;
        if !matches!(self.process.join_timeout(STOP_PATIENCE), Ok(Some(_))) {
            let _ = self.process.kill();
            let _ = self.process.join_timeout(STOP_PATIENCE);
        }
    }
}
