//! An ssh server on this machine, in a folder of its own.

use crate::processes::until;
use crate::scratch;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that knows one key. It ends with this value.
#[derive(Debug)]
pub struct Sshd {
    server: Child,
    folder: tempfile::TempDir,
}

fn make_key(file: &Path) {
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
    assert!(status.is_ok_and(|status| status.success()), "ssh-keygen failed: install openssh-client");
}

impl Sshd {
    /// `None` only where `MULTIPROCESSING_ENGINES` is `none`, which is for machines that cannot have it, or without root, who
    /// alone can have a server take log-ins by its own configuration.
    ///
    /// # Panics
    /// If it is missing and that is not said.
    pub fn start() -> Option<Self> {
        if std::env::var_os("MULTIPROCESSING_ENGINES").is_some_and(|value| value == "none") {
            eprintln!("ssh is left out, as MULTIPROCESSING_ENGINES=none says");
            return None;
        }
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("ssh is left out: its server needs root");
            return None;
        }
        let program = Path::new("/usr/sbin/sshd");
        assert!(program.is_file(), "install openssh-server, or leave ssh out with MULTIPROCESSING_ENGINES=none");
        let folder = scratch();
        let file = |name: &str| folder.path().join(name);
        make_key(&file("host_key"));
        make_key(&file("key"));
        let _ = fs::create_dir("/run/sshd");
        fs::copy(file("key.pub"), file("authorized_keys")).expect("a new file can be made");
        // Another may take the port before the server does; then that ends, and the test says so.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let at = folder.path().display();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nPidFile none\n\
             AuthorizedKeysFile {at}/authorized_keys\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nMaxSessions 64\nMaxStartups 100:30:200\n"
        );
        fs::write(file("sshd_config"), server).expect("a new file can be made");
        let host_key = fs::read_to_string(file("host_key.pub")).expect("the key is there");
        fs::write(file("known_hosts"), format!("w1 {host_key}")).expect("a new file can be made");
        let client = format!(
            "Host w1\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias w1\nIdentityFile {at}/key\nIdentitiesOnly yes\n\
             BatchMode yes\nUserKnownHostsFile {at}/known_hosts\nStrictHostKeyChecking yes\nServerAliveInterval 5\n\
             ServerAliveCountMax 3\nRequestTTY no\nEscapeChar none\nLogLevel ERROR\n"
        );
        fs::write(file("ssh_config"), client).expect("a new file can be made");
        let log = fs::File::create(file("log")).expect("a new file can be made");
        let mut server = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(file("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd runs");
        until("the ssh server", Duration::from_secs(20), || {
            let ended = server.try_wait().expect("it is our child");
            assert!(ended.is_none(), "sshd ended: {}", fs::read_to_string(file("log")).unwrap_or_default());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(Self { server, folder })
    }

    /// The command that runs another one behind it.
    pub fn command(&self) -> String {
        format!("ssh -F {}/ssh_config -T w1", self.folder.path().display())
    }

    /// Ends the server; what it has begun stays.
    pub fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}
