//! An lldb-server on this machine, that a debugger can connect to as to another's.

use crate::processes::{Process, until};
use crate::scratch;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A platform server. It ends with this value.
#[derive(Debug)]
pub struct PlatformServer {
    server: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl PlatformServer {
    /// In a folder of its own, where it puts files.
    pub fn start() -> Self {
        let folder = scratch();
        let work = folder.path().join("work");
        fs::create_dir(&work).expect("a new folder can be made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let log = fs::File::create(folder.path().join("log")).expect("a new file can be made");
        let mut server = Command::new("lldb-server-22")
            .args(["platform", "--server", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("lldb-server-22 is installed");
        until("the platform server", Duration::from_secs(20), || {
            let ended = server.try_wait().expect("it is our child");
            assert!(ended.is_none(), "it ended: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { server, port, folder }
    }

    /// The commands with which a debugger connects to it.
    pub fn connect(&self) -> [String; 2] {
        ["platform select remote-linux".into(), format!("platform connect connect://127.0.0.1:{}", self.port)]
    }

    /// The folder that it puts files into.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Workers that run somewhere below it.
    pub fn workers(&self) -> Vec<Process> {
        below(self.server.id() as i32)
    }
}

/// The workers among the processes that a process has started, and those have. Their file is gone by then, and with it the
/// name of those that were started from it after.
fn below(pid: i32) -> Vec<Process> {
    let is_worker = |child: &Process| {
        let program = child.executable().unwrap_or_default();
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mp-worker"))
    };
    let children = Process::all_children(pid);
    let deeper: Vec<Process> = children.iter().flat_map(|child| below(child.pid)).collect();
    children.into_iter().filter(is_worker).chain(deeper).collect()
}

impl Drop for PlatformServer {
    fn drop(&mut self) {
        // It ends those that serve its connections itself, when it is asked to.
        let children = Process::all_children(self.server.id() as i32);
        let _ = self.server.kill();
        let _ = self.server.wait();
        for child in children {
            child.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
