//! The real CPython at the other side.

use crate::{PATIENCE, accept, alone, anywhere, key, refusal};
use multiprocessing::connection::{Address, AuthKey, AuthenticationError, Client, ConnectionError, Listener};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Nothing, so that a test has nothing to do; or every Python that there is to be.
fn pythons() -> Vec<Python> {
    if std::env::var("MULTIPROCESSING_PYTHON").is_ok_and(|value| value == "none") {
        eprintln!("MULTIPROCESSING_PYTHON=none: not tested with CPython");
        return Vec::new();
    }
    let mut found = BTreeMap::new();
    for python in candidates() {
        if let Some(version) = python.version().filter(|version| *version >= (3, 12)) {
            // One in a debugger is another build, with fewer modules.
            found.entry((version, matches!(python, Python::Debugger(_)))).or_insert(python);
        }
    }
    assert!(
        !found.is_empty(),
        "no CPython 3.12 or later to talk to, in PATH, in pyenv or in a debugger: install python3.12, or run scripts/hosts \
         codelldb, or set MULTIPROCESSING_PYTHON=none to do without"
    );
    found.into_values().collect()
}

/// Something that may run Python.
#[derive(Clone, Debug)]
enum Python {
    Interpreter(PathBuf),
    /// LLDB, with a Python in it.
    Debugger(PathBuf),
}

fn candidates() -> Vec<Python> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let versions = std::fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten();
    let mut found: Vec<Python> =
        versions.map(|version| Python::Interpreter(version.path().join("bin/python3"))).collect();
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        let names = (12..20).map(|minor| format!("python3.{minor}")).chain(["python3".to_owned()]);
        found.extend(names.map(|name| Python::Interpreter(folder.join(name))));
    }
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hosts/bin");
    found.push(Python::Debugger(hosts.join("codelldb-lldb")));
    found
}

impl Python {
    fn version(&self) -> Option<(u32, u32)> {
        let path = match self {
            Python::Interpreter(path) | Python::Debugger(path) => path,
        };
        if !path.exists() {
            return None;
        }
        let mut child =
            self.start("import sys, multiprocessing.connection; say(sys.version_info[0], sys.version_info[1])", &[]);
        let version = child.said();
        child.end();
        let (major, minor) = version.split_once(' ')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Runs a program, which may `say` something and has variables of the given names.
    fn start(&self, program: &str, variables: &[(&str, &str)]) -> Running {
        let program = format!(
            "import os\ndef say(*words):\n  print('said', *words, flush=True)\n{}{program}\n",
            variables.iter().map(|(name, _)| format!("{name} = os.environ['{name}']\n")).collect::<String>()
        );
        let mut command = match self {
            Python::Interpreter(path) => {
                let mut command = Command::new(path);
                command.args(["-c", &program]);
                command
            }
            Python::Debugger(path) => {
                let mut command = Command::new(path);
                command.env("PROGRAM", program);
                command.args(["--no-lldbinit", "--batch", "-o", "script import os; exec(os.environ['PROGRAM'])"]);
                command
            }
        };
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("Python starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, output, python: self.clone() }
    }

    /// Runs the listener, and says where it listens.
    fn listen(&self, key: &str) -> (Running, Address) {
        let mut running = self.start(LISTENER, &[("KEY", key)]);
        let port = running.said().parse().expect("a port");
        (running, Address::Tcp { host: "127.0.0.1".into(), port })
    }
}

struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    python: Python,
}

impl Running {
    /// The next that it says; nothing at its end.
    fn said(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("its output") > 0 {
            if let Some(said) = line.trim().strip_prefix("said ") {
                return said.to_owned();
            }
            line.clear();
        }
        String::new()
    }

    fn end(mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("its errors");
        self.child.wait().expect("a child");
        format!("{:?}: {errors}", self.python)
    }
}

/// A message longer than any buffer, that no two places of are alike.
fn long() -> Vec<u8> {
    (0..(1 << 20) + 12_345_u32).map(|i| (i % 251) as u8).collect()
}

const LISTENER: &str = r"
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener
with Listener(('127.0.0.1', 0), authkey=KEY.encode()) as listener:
    say(listener.address[1])
    try:
        with listener.accept() as connection:
            while True:
                message = connection.recv_bytes()
                say(len(message))
                connection.send_bytes(message[::-1])
    except (AuthenticationError, EOFError) as error:
        say(type(error).__name__)
";

const CLIENT: &str = r"
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
try:
    with Client(('127.0.0.1', int(PORT)), authkey=KEY.encode()) as connection:
        while True:
            message = connection.recv_bytes()
            say(len(message))
            connection.send_bytes(message[::-1])
except (AuthenticationError, EOFError) as error:
    say(type(error).__name__)
";

/// Talks to a Python that sends back what it gets, backwards.
fn talk(connection: &multiprocessing::connection::Connection, python: &mut Running) {
    for mut message in [b"hello".to_vec(), Vec::new(), vec![7; 16_385], long()] {
        connection.send_bytes(&message).expect("it reads");
        assert_eq!(python.said(), message.len().to_string());
        let back = connection.recv_bytes(1 << 22).expect("an answer");
        message.reverse();
        assert!(back == message, "{} bytes came back as {}", message.len(), back.len());
    }
}

#[test]
fn a_python_listener_is_talked_to() {
    let _alone = alone();
    for python in pythons() {
        let (mut running, address) = python.listen("a key");
        let connection = Client::connect(&address, key().as_ref(), PATIENCE).expect("the same key");
        talk(&connection, &mut running);
        drop(connection);
        assert_eq!(running.said(), "EOFError");
        running.end();
    }
}

#[test]
fn a_python_client_is_talked_to() {
    let _alone = alone();
    for python in pythons() {
        let listener = Listener::bind(&anywhere(), key()).expect("a free port");
        let mut running = python.start(CLIENT, &[("KEY", "a key"), ("PORT", &port(&listener))]);
        let connection = accept(&listener);
        talk(&connection, &mut running);
        drop(connection);
        assert_eq!(running.said(), "EOFError");
        running.end();
    }
}

#[test]
fn a_python_listener_and_a_client_with_different_keys_refuse_each_other() {
    let _alone = alone();
    for python in pythons() {
        let (mut running, address) = python.listen("another key");
        let error = Client::connect(&address, key().as_ref(), PATIENCE).expect_err("another key");
        assert!(matches!(error, ConnectionError::Authentication(AuthenticationError::Refused)), "{error:?}");
        assert_eq!(running.said(), "AuthenticationError");
        running.end();
    }
}

#[test]
fn a_listener_and_a_python_client_with_different_keys_refuse_each_other() {
    let _alone = alone();
    for python in pythons() {
        let listener = Listener::bind(&anywhere(), Some(AuthKey::from("another key"))).expect("a free port");
        let mut running = python.start(CLIENT, &[("KEY", "a key"), ("PORT", &port(&listener))]);
        let error = refusal(&listener);
        assert!(matches!(error, ConnectionError::Authentication(AuthenticationError::WrongKey)), "{error:?}");
        assert_eq!(running.said(), "AuthenticationError");
        running.end();
    }
}

/// Runs an example of this package; it is built if it is not there.
fn example(name: &str, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(&cargo);
    build.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(build.status().expect("cargo").success(), "example {name}");
    // Not through cargo, so that it is this process's own child.
    let folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let mut command = Command::new(folder.join("debug/examples").join(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_example_client_asks_a_python_listener() {
    let _alone = alone();
    for python in pythons() {
        for (key, answer) in [("a key", Some("olleh\n")), ("another key", None)] {
            let (mut running, address) = python.listen("a key");
            let output = example("client", &[&address.to_string(), key, "hello"]).output().expect("the example");
            assert_eq!(output.status.success(), answer.is_some(), "{output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), answer.unwrap_or_default());
            assert_eq!(output.stderr.is_empty(), answer.is_some(), "{output:?}");
            assert_eq!(running.said(), if answer.is_some() { "5" } else { "AuthenticationError" });
            running.end();
        }
    }
}

#[test]
fn the_example_listener_serves_a_python_client() {
    let _alone = alone();
    let client = CLIENT.replace(
        "        while True:\n",
        "        connection.send_bytes(b'hello')\n        connection.send('pickled')\n        say(connection.recv_bytes().decode())\n        \
         say(connection.recv())\n        raise EOFError\n        while True:\n",
    );
    for python in pythons() {
        for (key, works) in [("a key", true), ("another key", false)] {
            let mut listener = example("listener", &["127.0.0.1:0", "a key"]).spawn().expect("the example");
            let mut output = BufReader::new(listener.stdout.take().expect("a pipe"));
            let mut line = String::new();
            output.read_line(&mut line).expect("its output");
            let port = line.trim().strip_prefix("listening at 127.0.0.1:").expect("its address");
            let mut running = python.start(&client, &[("KEY", key), ("PORT", port)]);
            let expected: &[&str] = if works { &["hello", "pickled", "EOFError"] } else { &["AuthenticationError"] };
            expected.iter().for_each(|expected| assert_eq!(running.said(), *expected));
            running.end();
            let mut rest = String::new();
            output.read_to_string(&mut rest).expect("its output");
            assert_eq!(rest, if works { "hello\npickled\n" } else { "" });
            let mut errors = String::new();
            listener.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("its errors");
            assert_eq!(listener.wait().expect("a child").success(), works, "{errors}");
            assert_eq!(errors.contains("does not have the same key"), !works, "{errors}");
        }
    }
}

fn port(listener: &Listener) -> String {
    match listener.address() {
        Address::Tcp { port, .. } => port.to_string(),
        other => panic!("{other}"),
    }
}
