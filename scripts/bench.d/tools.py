"""What the measurements share: debuggees, a debugger with mp-scan in it, and programs with their peak memory."""

import glob
import hashlib
import json
import os
import pty
import re
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("MP_SCAN_TARGET", ROOT / "target"))
PLUGIN = TARGET / "release/libmp_scan.so"
LIMIT = TARGET / "release/limit"
# Sixteen bytes that are nowhere but where they are planted.
NEEDLE = "MpScanNeedle2026"


def median(values):
    return statistics.median(values)


def compile_fixture(name):
    folder = ROOT / "fixtures"
    sources = [folder / name, folder / "common.h", folder / "heap.h"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    stem, language = name.rsplit(".", 1)
    program = TARGET / "bench" / f"{stem}-{digest}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        compiler = {"c": "cc", "cpp": "c++"}[language]
        subprocess.run([compiler, "-g", "-O1", "-pthread", "-o", program, folder / name], check=True)
    return program


class Debuggee:
    """`fixtures/memory.c`, or another of them, with these options, waiting; it ends with the `with` block."""

    def __init__(self, source="memory.c", **options):
        (TARGET / "bench").mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(dir=TARGET / "bench")
        truth = Path(self.folder.name) / "truth"
        options = [f"{name}={value}" for name, value in options.items()]
        self.program = compile_fixture(source)
        self.process = subprocess.Popen([self.program, truth, *options], stdin=subprocess.DEVNULL)
        while not truth.exists():
            if self.process.poll() is not None:
                raise RuntimeError("the debuggee ended")
            time.sleep(0.01)
        # Kind, label and number of each.
        self.truth = [(kind, label, int(address, 16)) for kind, label, address in map(str.split, truth.open())]
        edges = {label: address for kind, label, address in self.truth if kind == "edge"}
        self.start, self.end = edges.get("start"), edges.get("end")
        self.pid = self.process.pid

    def resident(self):
        return status(self.pid, "VmRSS")

    def core(self):
        """Has gdb write its core file."""
        core = Path(self.folder.name) / "core"
        subprocess.run(
            ["gdb", "--nx", "--batch", "-p", str(self.pid), "-ex", f"generate-core-file {core}"],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        # From now on it is read from memory, by everyone alike.
        with open(core, "rb") as file:
            while file.read(1 << 24):
                pass
        return core

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def status(pid, line):
    """A line of /proc/PID/status in bytes; 0 once the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{line}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def children(pid, name):
    """The pids of a process's children of this name."""
    pids = subprocess.run(["pgrep", "-P", str(pid), "-x", name], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in pids]


def descendants(pid):
    """A process and all that it and they have started and that run."""
    found = [pid]
    for parent in found:
        for task in glob.glob(f"/proc/{parent}/task/*/children"):
            try:
                found += [int(child) for child in Path(task).read_text().split()]
            except OSError:
                pass
    return found


def own_memory(pids):
    """What processes have resident that is of no file, in bytes; what they share counts once."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(size) * 1024 for size in re.findall(r"^Pss_(?:Anon|Shmem):\s*(\d+) kB", text, re.MULTILINE))
    return total


class Session:
    """A debugger in a Python host (tests/driver.py), with mp-scan in it."""

    def __init__(self, plugin=True, **environment):
        self.folder = tempfile.TemporaryDirectory(dir=TARGET / "bench")
        python_path = subprocess.run(["lldb-22", "-P"], capture_output=True, text=True, check=True).stdout.strip()
        variables = {
            **os.environ,
            "PYTHONPATH": python_path,
            "LLDB_DEBUGSERVER_PATH": "/usr/lib/llvm-22/bin/lldb-server",
            # Nobody's settings but the defaults.
            "XDG_CONFIG_HOME": self.folder.name,
            **environment,
        }
        self.host = subprocess.Popen(
            ["/usr/bin/python3", ROOT / "tests/driver.py", Path(self.folder.name) / "screen"],
            env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.count = 0
        if plugin:
            self.run(f"plugin load {PLUGIN}")

    def request(self, **request):
        self.count += 1
        print(json.dumps({"id": self.count, **request}), file=self.host.stdin, flush=True)
        answer = json.loads(self.host.stdout.readline())
        if "exception" in answer:
            raise RuntimeError(answer["exception"])
        return answer

    def python(self, statements):
        return self.request(python=statements)["answer"]

    def run(self, line):
        """Runs a command; returns its output and how long it took, in seconds."""
        answer = self.request(command=line)
        if not answer["ok"]:
            raise RuntimeError(f"{line}: {answer['error']}")
        return answer["output"], answer["seconds"]

    def attach(self, debuggee):
        self.run(f"process attach --pid {debuggee.pid}")

    def open_core(self, debuggee, core):
        self.run(f"target create {debuggee.program} --core {core}")

    def scan(self, line):
        """Runs a command of mp-scan's; returns its report, with `wall` (seconds) beside it."""
        output, seconds = self.run(f"{line} --format json")
        return {**json.loads(output), "wall": seconds}

    def workers(self):
        return children(self.host.pid, "mp-worker")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.host.stdin.close()
        self.host.wait()
        self.folder.cleanup()


class Watch:
    """The largest size, in bytes, that any of some processes has of a line of /proc/PID/status; or that all have together."""

    def __init__(self, pids, line="RssAnon", of=max):
        self.pids, self.line, self.of, self.peak = pids, line, of, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while True:
            self.peak = max(self.peak, self.of([0, *(status(pid, self.line) for pid in self.pids())]))
            if self.ended.wait(0.005):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def measure(command, **options):
    """Runs a program; returns its output, its seconds, and its peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, **options)
        _, code, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {text}")
    return text, seconds, usage.ru_maxrss * 1024


def limit(*arguments, threads, repeats):
    """The median seconds of the bare search: `limit SOURCE WHERE START END … MATCHER`."""
    source, where, start, end, *matcher = [str(argument) for argument in arguments]
    command = [LIMIT, source, where, start, end, str(threads), str(repeats), *matcher]
    text, _, _ = measure(command)
    return median(json.loads(text)["seconds"])


class Prompt:
    """An lldb at its prompt, in a terminal."""

    def __init__(self, *commands):
        arguments = ["lldb-22", "--no-lldbinit", "--no-use-colors", "-o", "settings set show-statusline false"]
        for command in commands:
            arguments += ["-o", command]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(arguments[0], arguments)
        self.printed = b""

    def expect(self, text):
        """Reads until `text` is on the screen."""
        text = text.encode()
        while text not in self.printed:
            self.printed += os.read(self.terminal, 65536)
        self.printed = self.printed.split(text, 1)[1]

    def type_line(self, line):
        os.write(self.terminal, line.encode() + b"\r")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
