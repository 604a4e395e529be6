//! Real engines, started for a test in a folder of its own and ended with it.

use super::pipes::{alive, children_of};
use crate::common::until;
use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether the tests with real engines are to run: they do, unless somebody who knows says otherwise.
pub fn wanted() -> bool {
    let wanted = std::env::var_os("MULTIPROCESSING_ENGINES").is_none_or(|text| text != "none");
    if !wanted {
        eprintln!("MULTIPROCESSING_ENGINES=none: not tested");
    }
    wanted
}

/// Where a program is; without it, what to install.
fn program(name: &str, package: &str) -> PathBuf {
    let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    folders.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("there is no {name}: install the package {package}, or set MULTIPROCESSING_ENGINES=none to go without")
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A server process that is ended with this, and whatever it has started.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, log: &Path) -> Server {
        let log = fs::File::options().create(true).append(true).open(log).expect("a log");
        let (out, errors) = (log.try_clone().expect("a descriptor"), log);
        Server(command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().expect("it runs"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its own children end when nobody is connected any more, and it is the one to take their status.
        let deadline = Instant::now() + Duration::from_secs(2);
        while !children_of(self.0.id()).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut all = vec![self.0.id()];
        let mut next = 0;
        while next < all.len() {
            all.extend(children_of(all[next]));
            next += 1;
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        for pid in all.into_iter().skip(1).filter(|pid| alive(*pid)) {
            // SAFETY: `kill` takes two numbers. These are children of a server of ours.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    }
}

/// An sshd on this machine, which knows it under two names, `w1` and `w2`.
pub struct Sshd {
    folder: tempfile::TempDir,
    _server: Server,
}

impl Sshd {
    pub fn start() -> Sshd {
        let [sshd, keygen] = [program("sshd", "openssh-server"), program("ssh-keygen", "openssh-client")];
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            run(Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)));
        }
        fs::copy(at("user.pub"), at("authorized")).expect("a copy");
        let port = free_port();
        let here = folder.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nPidFile {here}/pid\nAuthorizedKeysFile {here}/authorized\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             StrictModes no\nMaxSessions 64\nMaxStartups 100:30:200\n"
        );
        fs::write(at("sshd_config"), config).expect("a file");
        let host_key = fs::read_to_string(at("host.pub")).expect("a key");
        let mut known = String::new();
        let mut config = format!(
            "Host *\nHostName 127.0.0.1\nPort {port}\nIdentityFile {here}/user\nIdentitiesOnly yes\nBatchMode yes\n\
             UserKnownHostsFile {here}/known\nStrictHostKeyChecking yes\nServerAliveInterval 5\nServerAliveCountMax 3\n\
             RequestTTY no\nEscapeChar none\nLogLevel ERROR\n"
        );
        for name in ["w1", "w2"] {
            writeln!(known, "{name} {}", host_key.trim()).expect("text");
            writeln!(config, "Host {name}\nHostKeyAlias {name}").expect("text");
        }
        fs::write(at("known"), known).expect("a file");
        fs::write(at("ssh_config"), config).expect("a file");
        // Where sshd leaves the rights that it does not need. It is there where sshd runs as a service.
        let _ = fs::create_dir("/run/sshd");
        let server = Server::start(Command::new(sshd).arg("-D").arg("-e").arg("-f").arg(at("sshd_config")), &at("log"));
        until("sshd listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Sshd { folder, _server: server }
    }

    /// The words that run a command on this host.
    pub fn prefix(&self, host: &str) -> Vec<String> {
        let ssh = program("ssh", "openssh-client").display().to_string();
        let config = self.folder.path().join("ssh_config").display().to_string();
        vec![ssh, "-F".into(), config, "-T".into(), host.into()]
    }
}

/// A Slurm of one node, this machine.
pub struct Slurm {
    // In the order in which they end.
    _slurmd: Server,
    _slurmctld: Server,
    _munged: Server,
    folder: tempfile::TempDir,
}

impl Slurm {
    pub fn start() -> Slurm {
        let [munged, slurmctld, slurmd] = [("munged", "munge"), ("slurmctld", "slurm-wlm"), ("slurmd", "slurm-wlm")]
            .map(|(name, package)| program(name, package));
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let here = folder.path().display().to_string();
        // munged insists on folders that nobody else can write.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        for name in ["state", "spool"] {
            fs::create_dir(at(name)).expect("a folder");
        }
        let mut key = [0; 128];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").expect("randomness"), &mut key)
            .expect("randomness");
        fs::write(at("munge.key"), key).expect("a file");
        fs::set_permissions(at("munge.key"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        let option = |name: &str, file: &str| format!("--{name}={here}/{file}");
        let mut command = Command::new(munged);
        command.args(["--foreground", "--force"]).arg(option("key-file", "munge.key"));
        command.args([option("socket", "munge.socket"), option("pid-file", "munge.pid")]);
        command.args([option("log-file", "munge.log"), option("seed-file", "munge.seed")]);
        let munged = Server::start(&mut command, &at("log"));
        until("munged listens", || at("munge.socket").exists());

        let name = run(Command::new("hostname").arg("-s"));
        let (controller, node) = (free_port(), free_port());
        let config = format!(
            "ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={controller}\nSlurmdPort={node}\nSlurmUser=root\n\
             SlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={here}/munge.socket\nCryptoType=crypto/munge\n\
             StateSaveLocation={here}/state\nSlurmdSpoolDir={here}/spool\nSlurmctldPidFile={here}/slurmctld.pid\n\
             SlurmdPidFile={here}/slurmd.pid\nSlurmctldLogFile={here}/slurmctld.log\nSlurmdLogFile={here}/slurmd.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nSchedulerType=sched/builtin\nSchedulerParameters=batch_sched_delay=0\n\
             AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\nReturnToService=2\n\
             SwitchType=switch/none\nMpiDefault=none\nKillWait=1\nInactiveLimit=0\n\
             NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={} CPUs=2\n\
             PartitionName=debug Nodes=localhost Default=YES State=UP OverSubscribe=FORCE:32\n",
            name.trim()
        );
        fs::write(at("slurm.conf"), config).expect("a file");
        let conf = |command: &mut Command| {
            command.env("SLURM_CONF", at("slurm.conf"));
        };
        let mut command = Command::new(slurmctld);
        command.args(["-D", "-c"]);
        conf(&mut command);
        let slurmctld = Server::start(&mut command, &at("log"));
        let mut command = Command::new(slurmd);
        command.args(["-D", "-N", "localhost"]);
        conf(&mut command);
        let slurmd = Server::start(&mut command, &at("log"));
        let slurm = Slurm { _slurmd: slurmd, _slurmctld: slurmctld, _munged: munged, folder };
        let sinfo = program("sinfo", "slurm-wlm");
        until("the node is there", || {
            let mut command = Command::new(&sinfo);
            command.args(["-h", "-o", "%T"]).env("SLURM_CONF", slurm.folder.path().join("slurm.conf"));
            command.output().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("idle"))
        });
        slurm
    }

    /// The words that run a command wherever there is room.
    pub fn prefix(&self) -> Vec<String> {
        let conf = format!("SLURM_CONF={}", self.folder.path().join("slurm.conf").display());
        let srun = program("srun", "slurm-wlm").display().to_string();
        let words = ["env", &conf, &srun, "-u", "-Q", "-n1", "-N1", "--overlap", "--oversubscribe", "--mem=0"];
        words.iter().map(ToString::to_string).collect()
    }
}
