"""The other tools, each measured as its users use it. A function returns seconds and peak memory, or None if the tool is
missing, cannot do it, or does not find what is there."""

import re
import shutil
import subprocess
import time

from tools import NEEDLE, TARGET, Session, measure, status

VENV = TARGET / "bench/venv"


def version(command, pattern=r"(\d+(?:\.\d+)+)"):
    text = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(pattern, text)
    return found[1] if found else "?"


def names():
    """What the peers are called in the rows, with their versions."""
    named = {"lldb": f"lldb-{version(['lldb-22', '--version'])} memory find"}
    named["gdb"] = f"gdb-{version(['gdb', '--version'], r'(?m)^GNU gdb.* ([0-9.]+)')} find"
    if (VENV / "bin/drgn").exists():
        named["drgn"] = f"drgn-{version([VENV / 'bin/drgn', '--version'])}"
    if shutil.which("rg"):
        named["ripgrep"] = f"ripgrep-{version(['rg', '--version'])}"
    if shutil.which("yara"):
        named["yara"] = f"yara-{version(['yara', '--version'])}"
    return {tool: named.get(tool, tool) for tool in ("lldb", "gdb", "drgn", "ripgrep", "yara")}


def lldb(debuggee, core=None):
    with Session(plugin=False) as session:
        if core:
            session.open_core(debuggee, core)
        else:
            session.attach(debuggee)
        before = status(session.host.pid, "VmHWM")
        output, seconds = session.run(f"memory find -s {NEEDLE} -c 100 -- {debuggee.start:#x} {debuggee.end:#x}")
        found = output.count("data found at location")
        assert found == 3, output
        return seconds, status(session.host.pid, "VmHWM") - before


def gdb(debuggee, core=None):
    # A string pattern would be searched with the 0 at its end, so the bytes are given.
    letters = ", ".join(f"'{letter}'" for letter in NEEDLE)
    find = f"find /b {debuggee.start:#x}, {debuggee.end - 1:#x}, {letters}"
    where = [debuggee.program, core] if core else ["-p", str(debuggee.pid)]
    timed = f"python import time; start = time.time(); gdb.execute(\"{find}\"); print('took', time.time() - start)"
    text, _, memory = measure(["gdb", "--nx", "--batch", "-iex", "set debuginfod enabled off", *where, "-ex", timed])
    assert "3 patterns found" in text, text
    return float(re.search(r"took ([0-9.e-]+)", text)[1]), memory


def drgn(debuggee, core=None):
    if not (VENV / "bin/drgn").exists():
        return None
    program = f"""
import drgn, time
program = drgn.Program()
{f"program.set_core_dump('{core}')" if core else f"program.set_pid({debuggee.pid})"}
start = time.time()
search = program.search_memory({NEEDLE.encode()!r}).set_address_range({debuggee.start}, {debuggee.end - 1})
found = [address for address in search]
print(len(found), time.time() - start)
"""
    text, _, memory = measure([VENV / "bin/python3", "-c", program])
    count, seconds = text.split()
    assert count == "3", text
    return float(seconds), memory


def ripgrep(core):
    if not shutil.which("rg"):
        return None
    text, seconds, memory = measure(
        ["rg", "-a", "-F", "--mmap", "--count-matches", "--no-config", "--no-filename", NEEDLE, core]
    )
    assert int(text) >= 3, text
    return seconds, memory


def yara(where):
    if not shutil.which("yara"):
        return None
    rule = TARGET / "bench/needle.yar"
    rule.write_text(f'rule needle {{ strings: $needle = "{NEEDLE}" condition: $needle }}\n')
    text, seconds, memory = measure(["yara", "--print-strings", rule, str(where)])
    assert text.count("$needle") >= 3, text
    return seconds, memory


def attempt(peer, *arguments):
    """(seconds, memory) of a peer, or (None, None) with the reason on stderr."""
    start = time.monotonic()
    try:
        measured = peer(*arguments)
    except (AssertionError, RuntimeError, OSError, TypeError) as error:
        print(f"{peer.__name__}: no figure after {time.monotonic() - start:.1f} s: {error}", file=__import__("sys").stderr)
        measured = None
    return measured or (None, None)
