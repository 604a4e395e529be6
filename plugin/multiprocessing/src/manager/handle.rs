//! The handle of a manager.

use super::error::ManagerError;
use super::link::{self, Link};
use super::managed::ManagedTypes;
use super::protocol::Request;
use super::proxy::{deserialize_link, serialize_link};
use super::server::Server;
use super::server::process::ServerProcess;
use crate::connection::{Address, AuthKey, Listener};
use crate::program::Program;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A process that owns objects, or a way to one.
///
/// The one that [`Manager::start`] or [`Manager::serve`] has made is ended when this is dropped, within about a second, whatever its
/// objects are doing. One that was connected to, or came in a message from another process of this machine, goes on.
///
/// ```
/// use multiprocessing::{ManagedDict, Manager, Process, Program, Registry};
///
/// multiprocessing::function! {
///     fn count(words: ManagedDict<String, u64>, text: String) -> Result<(), multiprocessing::ManagerError> {
///         for word in text.split_whitespace() {
///             words.insert(word, &(word.len() as u64))?;
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<count>().serve_if_worker();
///     let program = Program::current("example")?;
///     let manager = Manager::start(&program)?;
///     let words = ManagedDict::<String, u64>::new(&manager)?;
///     let process = Process::builder(&program).start(count, &(words.clone(), "to whom it may concern".into()))?;
///     process.join()?;
///     assert_eq!(words.get("concern")?, Some(7));
///     assert_eq!(words.len()?, 5);
///     Ok(())
/// }
/// ```
pub struct Manager {
    link: Arc<Link>,
    owned: Owned,
}

/// What ends with the handle.
enum Owned {
    Nothing,
    Process(ServerProcess),
    Here(Server),
}

impl Manager {
    /// Starts a manager in a process of its own, for this process and whatever others its proxies are sent to. Its types are those
    /// of the program's registry.
    ///
    /// # Errors
    /// The process cannot be started, or does not answer.
    pub fn start(program: &Program) -> Result<Manager, ManagerError> {
        Manager::start_at(program, &Address::Abstract(Vec::new()), AuthKey::random()?)
    }

    /// Starts a manager in a process of its own that others can [connect](Manager::connect) to. Clients may
    /// connect as soon as this returns.
    ///
    /// # Errors
    /// The address cannot be had; the process cannot be started, or does not answer.
    pub fn start_at(program: &Program, address: &Address, key: AuthKey) -> Result<Manager, ManagerError> {
        let listener = Listener::bind(address, Some(key.clone()))?;
        let address = listener.address().clone();
        let process = ServerProcess::start(program, listener, &key)?;
        let link = Link::connect(&address, &key).map_err(|error| process.why(error))?;
        Ok(Manager { link, owned: Owned::Process(process) })
    }

    /// Serves others from threads of this process, which may use the objects as well.
    ///
    /// # Errors
    /// The address cannot be had; or the process cannot have another thread.
    ///
    /// ```
    /// use multiprocessing::connection::AuthKey;
    /// use multiprocessing::{ManagedQueue, ManagedTypes, Manager};
    ///
    /// let key = AuthKey::random()?;
    /// let manager = Manager::serve(&"127.0.0.1:0".parse()?, key.clone(), ManagedTypes::new())?;
    /// ManagedQueue::<String>::new_named(&manager, "jobs", None)?.put("the first")?;
    ///
    /// // On another machine:
    /// let there = Manager::connect(manager.address(), &key)?;
    /// let jobs = ManagedQueue::<String>::named(&there, "jobs")?;
    /// assert_eq!(jobs.get()?, "the first");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve(address: &Address, key: AuthKey, types: ManagedTypes) -> Result<Manager, ManagerError> {
        let server = Server::start(Listener::bind(address, Some(key.clone()))?, types)?;
        let link = Link::connect(server.address(), &key)?;
        Ok(Manager { link, owned: Owned::Here(server) })
    }

    /// Connects to a manager that somebody else has started.
    ///
    /// # Errors
    /// There is none at this address, or it has another key.
    pub fn connect(address: &Address, key: &AuthKey) -> Result<Manager, ManagerError> {
        Ok(Manager { link: Link::connect(address, key)?, owned: Owned::Nothing })
    }

    /// Where it can be connected to.
    pub fn address(&self) -> &Address {
        self.link.address()
    }

    /// The number of its process, if this handle has started it.
    pub fn pid(&self) -> Option<u32> {
        match &self.owned {
            Owned::Process(process) => Some(process.pid()),
            Owned::Here(_) => Some(std::process::id()),
            Owned::Nothing => None,
        }
    }

    /// How many objects it owns: those that somebody holds, or that have a name.
    ///
    /// # Errors
    /// It has ended.
    pub fn objects(&self) -> Result<u64, ManagerError> {
        link::number(self.link.ask(&Request::Count)?)
    }

    /// Takes a name away; whether there was an object of that name. It goes once nobody holds it.
    ///
    /// # Errors
    /// It has ended.
    pub fn forget(&self, name: &str) -> Result<bool, ManagerError> {
        Ok(link::number(self.link.ask(&Request::Forget { name })?)? > 0)
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        match &mut self.owned {
            Owned::Nothing => {}
            Owned::Process(process) => process.stop(),
            Owned::Here(server) => server.stop(),
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("address", &self.address().to_string()).field("pid", &self.pid()).finish()
    }
}

impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_link(&self.link, None, serializer)
    }
}

impl<'de> Deserialize<'de> for Manager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Manager, D::Error> {
        let (link, _) = deserialize_link(deserializer)?;
        Ok(Manager { link, owned: Owned::Nothing })
    }
}
