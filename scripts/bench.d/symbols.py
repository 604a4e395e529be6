"""The symbol commands beside their peers and beside the machine's limit, on a library without debug info, a C++ server and a
Rust program with all of it."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import peers
from tools import TARGET, Session, Watch, measure, median

LIMIT = TARGET / "release/symbol-limit"
FOLDER = TARGET / "bench/programs"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Program:
    """A file that is scanned, and what is looked for in it."""

    def __init__(self, name, path, symbols, types=None, exact=None, file=None):
        self.name, self.path, self.symbols, self.types, self.exact, self.file = name, path, symbols, types, exact, file

    def warm(self):
        """From now on it is read from memory, by everyone alike."""
        with open(self.path, "rb") as file:
            while file.read(1 << 24):
                pass


def programs():
    """Those that there are; what is missing is said."""
    library = next(Path("/usr/lib").glob("**/libLLVM.so.22*"), None)
    wanted = [
        Program("libLLVM", library and library.resolve(), r"SelectionDAG::.*Node\("),
        Program("C++ server", FOLDER / "ceph-mds", "MDCache::.*inode", "MDCache", "MDCache", "MDCache"),
        Program(
            "Rust program", FOLDER / "rust-analyzer", "hir_ty::lower", "hir_ty::lower", "hir_ty::lower::TyLoweringContext",
            "hir-ty.*/lower",
        ),
    ]
    for program in wanted:
        if not (program.path and program.path.exists()):
            say(f"{program.name} is missing, and left out")
    return [program for program in wanted if program.path and program.path.exists()]


class Rows:
    def __init__(self, repeats):
        self.repeats, self.rows = repeats, []
        self.lldb = f"lldb-{peers.version(['lldb-22', '--version'])}"
        self.gdb = f"gdb-{peers.version(['gdb', '--version'], r'(?m)^GNU gdb.* ([0-9.]+)')}"

    def add(self, name, ours, others=None, limit=None, memory=None, goal=None, unit="s"):
        row = {"row": name, "unit": unit, "better": "less", "ours": ours, "peers": others or {}, "limit": limit}
        self.rows.append({**row, "memory": memory or {}, **({"goal": goal} if goal is not None else {})})
        say(f"    {name}: {ours if ours is None else format(ours, '.4g')} {unit}" + (f", limit {limit:.4g}" if limit else ""))

    def limit(self, program, *work, threads=2):
        """The median seconds of the bare program."""
        command = [LIMIT, str(threads), program.path, *map(str, work)]
        return median(measure(command)[1] for _ in range(self.repeats))


def peer(function, *arguments):
    """Seconds of a peer, or None with the reason on stderr."""
    return peers.attempt(function, *arguments)[0]


def lldb(program, *commands):
    """LLDB as a process, from its start to its end, without what `target create` takes beforehand."""
    start = time.monotonic()
    lines = [part for command in commands for part in ("-o", command)]
    _, seconds, memory = measure(["lldb-22", "--no-lldbinit", "-b", "-o", f"target create {program.path}", *lines])
    assert time.monotonic() - start < 600
    return seconds, memory


def gdb(program, *commands):
    lines = [part for command in commands for part in ("-ex", command)]
    quiet = ["--nx", "--batch", "-iex", "set debuginfod enabled off", "-iex", "set index-cache enabled off"]
    _, seconds, memory = measure(["gdb", *quiet, *lines, program.path])
    return seconds, memory


def shell(line, found=None):
    text, seconds, memory = measure(["bash", "-c", line])
    if found is not None:
        assert int(text.split()[0]) == found, f"{text.split()[0]} for {found}"
    return seconds, memory


def drgn(program, type_name):
    if not (peers.VENV / "bin/drgn").exists():
        return None
    code = f"""
import drgn
program = drgn.Program()
# It is loaded nowhere, so it has to be said that there is such a module.
module = program.extra_module({str(program.path)!r}, create=True)
module.try_file({str(program.path)!r}, force=True)
print(program.type({type_name!r}).size)
"""
    _, seconds, memory = measure([peers.VENV / "bin/python3", "-c", code])
    return seconds, memory


class Ours:
    """A session with the program as its target, whose symbols LLDB does not load."""

    def __init__(self, program, cache):
        self.session = Session(MP_SCAN_CACHE=cache)
        self.session.run("settings set target.preload-symbols false")
        self.session.run(f"target create {program.path}")
        # The pool starts with the first command; it is measured elsewhere.
        self.session.run("mp-scan lookup 0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.__exit__()

    def wall(self, line):
        """Seconds until the prompt is back, and the report, if it does not go to a file."""
        if " --output " in line:
            return self.session.run(f"mp-scan {line} --format json")[1], None
        report = self.session.scan(f"mp-scan {line}")
        return report["wall"], report

    def median(self, line, repeats):
        self.wall(line)
        measured = [self.wall(line) for _ in range(repeats)]
        return median(seconds for seconds, _ in measured), measured[0][1]


def first(program, line, repeats, warm):
    """Median seconds of a command that is the first of its session: with an index of another session, or with none."""
    measured = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=TARGET / "bench") as cache:
            if warm:
                with Ours(program, cache) as ours:
                    ours.wall(line)
                    # The index may be made after the answer.
                    time.sleep(2)
            with Ours(program, cache) as ours:
                seconds, report = ours.wall(line)
                measured.append(seconds)
    return median(measured), report


def start(rows, program):
    """From nothing to the first answer: what a user waits for a symbol by a part of its name."""
    name = program.symbols
    ours = []
    for _ in range(rows.repeats):
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(dir=TARGET / "bench") as cache, Session(MP_SCAN_CACHE=cache) as session:
            began = time.monotonic() - begin
            session.run("settings set target.preload-symbols false")
            _, created = session.run(f"target create {program.path}")
            report = session.scan(f"mp-scan symbols '{name}'")
            ours.append(created + report["wall"])
        assert began < 60
    with Session(plugin=False) as session:
        _, created = session.run(f"target create {program.path}")
        _, looked = session.run(f"image lookup -r -s '{name}'")
    rows.add(f"{program.name}: from `target create` to the first symbols", median(ours), {rows.lldb: created + looked})


def of_nm(program):
    """How many symbols match: those of both tables, what is in both once."""
    tables = []
    for options in (["-C"], ["-D", "-C", "--without-symbol-versions"]):
        text = subprocess.run(["nm", *options, program.path], capture_output=True).stdout.decode(errors="replace")
        shown = (re.match(r"(.{16}) . (.*)", line) for line in text.splitlines())
        tables.append(Counter(line.groups() for line in shown if line and re.search(program.symbols, line[2])))
    return sum((tables[0] | tables[1]).values())


def same(what, ours, theirs):
    """A wrong answer has no time."""
    assert ours == theirs, f"{what}: we find {ours}, and they {theirs}"


def symbols(rows, program, goal):
    line = f"symbols '{program.symbols}' --limit 100000"
    cold, report = first(program, line, rows.repeats, warm=False)
    same(f"symbols of {program.name}", report["total"], of_nm(program))
    others = {
        rows.lldb: peer(lldb, program, f"image lookup -r -s '{program.symbols}'"),
        # In gdb's dialect a parenthesis is a letter without a backslash.
        rows.gdb: peer(gdb, program, "info functions " + program.symbols.replace(r"\(", "(")),
        "nm -C | grep": peer(shell, f"(nm -C {program.path}; nm -D -C {program.path}) | grep -E '{program.symbols}' | wc -l"),
    }
    limit = rows.limit(program, "symbols", program.symbols)
    with Ours(program, "") as ours, Watch(ours.session.workers) as watch:
        ours.wall(line)
    memory = {"a worker": watch.peak}
    rows.add(f"{program.name}: regex over symbols, nothing known", cold, others, limit, memory, goal)
    indexed, _ = first(program, line, rows.repeats, warm=True)
    with tempfile.TemporaryDirectory(dir=TARGET / "bench") as cache, Ours(program, cache) as ours:
        ours.wall(line)
        time.sleep(2)
        warm, _ = ours.median(line, 5 * rows.repeats)
    rows.add(f"{program.name}: the same, in the next session", indexed, goal=warm * 1.5)
    rows.add(f"{program.name}: the same, again", warm, goal=0.010)
    say(f"      {report['total']} symbols")


def types(rows, program):
    line = f"types '{program.types}' --limit 100000"
    cold, report = first(program, line, rows.repeats, warm=False)
    others = {rows.gdb: peer(gdb, program, f"info types {program.types}")}
    if program.name.startswith("C++"):
        others["pahole, all types"] = peer(shell, f"pahole --sizes {program.path} | grep {program.types} | wc -l")
    with Ours(program, "") as ours, Watch(ours.session.workers) as watch:
        ours.wall(line)
    limit = rows.limit(program, "types", program.types)
    rows.add(f"{program.name}: regex over types with sizes, nothing known", cold, others, limit, {"a worker": watch.peak}, 0.25)
    say(f"      {report['total']} types")
    indexed, _ = first(program, line, rows.repeats, warm=True)
    rows.add(f"{program.name}: the same, in the next session", indexed)
    sized, _ = first(program, "types . --sort size", rows.repeats, warm=False)
    limit = rows.limit(program, "all-types")
    others = {"pahole": peer(shell, f"pahole --sizes {program.path} | sort -t$'\\t' -k2 -nr | head -256")}
    rows.add(f"{program.name}: all types by size", sized, others, limit, goal=0.7)
    exact = f"types '^{program.exact}$'"
    one, _ = first(program, exact, rows.repeats, warm=False)
    others = {
        rows.lldb: peer(lldb, program, f"image lookup -t '{program.exact}'"),
        "drgn": peer(drgn, program, program.exact),
        "pahole": peer(shell, f"pahole -C {program.exact} {program.path}"),
    }
    rows.add(f"{program.name}: one type", one, others, goal=0.10)
    layout, _ = first(program, f"{exact} --layout", rows.repeats, warm=False)
    rows.add(f"{program.name}: its layout", layout, {"pahole": others["pahole"]}, goal=0.25)


def lines(rows, program):
    line = f"lines '{program.file}' --limit 1000000"
    ours, report = first(program, line, rows.repeats, warm=False)
    limit = rows.limit(program, "lines", program.file)
    rows.add(f"{program.name}: line rows by file", ours, {}, limit, goal=limit * 1.3)
    say(f"      {report['total']} ranges")


def code_addresses(program, count):
    """Addresses in functions, the same each time."""
    table = subprocess.run(["nm", "--defined-only", "-S", program.path], capture_output=True, text=True).stdout
    functions = [line.split() for line in table.splitlines() if re.match(r"^[0-9a-f]+ [0-9a-f]+ [tTwW] ", line)]
    chosen = random.Random(1)
    picked = (chosen.choice(functions) for _ in range(count))
    return [int(start, 16) + chosen.randrange(int(size, 16) or 1) for start, size, *_ in picked]


def lookup(rows, program, goal, count):
    with tempfile.TemporaryDirectory(dir=TARGET / "bench") as folder:
        file = Path(folder) / "addresses"
        file.write_text("".join(f"{address:#x}\n" for address in code_addresses(program, count)))
        ours, _ = first(program, f"lookup --file {file} --output {folder}/rows", rows.repeats, warm=False)
        symbolizer = shutil.which("llvm-symbolizer-22") or shutil.which("llvm-symbolizer")
        line = f"{symbolizer} --obj={program.path} < {file} | wc -l"
        others = {"llvm-symbolizer": symbolizer and peer(shell, line)}
        limit = rows.limit(program, "lookup", file)
    rows.add(f"{program.name}: {count} addresses to their inlined frames", ours, others, limit, goal=goal)


def xrefs(rows, program):
    # A function that is called from many places.
    table = subprocess.run(["nm", "-D", "--defined-only", program.path], capture_output=True, text=True).stdout
    name = "_ZN4llvm5APInt12initSlowCaseEmb"
    address = next(int(line.split()[0], 16) for line in table.splitlines() if line.endswith(name) or f" {name}@" in line)
    ours, report = first(program, f"xrefs {address:#x} --limit 100000", rows.repeats, warm=False)
    pattern = f"(call|j[a-z]+) +{address:x} |# {address:x} "
    peers_line = f"objdump -d --no-show-raw-insn {program.path} | grep -cE '{pattern}'"
    text, seconds, memory = measure(["bash", "-c", peers_line])
    # Pointers in data are no instructions.
    code = sum(row["kind"] != "pointer" for row in report["results"])
    same("references to one function", code, int(text))
    others = {"objdump | grep": seconds}
    limit = rows.limit(program, "xrefs", hex(address))
    rows.add(f"{program.name}: what refers to one function", ours, others, limit, goal=0.2)
    say(f"      {report['total']} references")


def memory(rows, program):
    """What all processes have of their own at once, while everything about a program is asked."""
    with Ours(program, "") as ours:
        # What workers map of files they share, and so does everybody else.
        everyone = lambda: [ours.session.host.pid, *ours.session.workers()]
        with Watch(everyone, of=sum) as watch:
            for line in ["symbols . --limit 1000", "types . --sort size --limit 1000", "lines . --limit 1000"]:
                ours.wall(line)
    _, theirs = lldb(program, f"image lookup -r -s '{program.symbols}'")
    rows.add(f"{program.name}: memory of all processes", watch.peak / 1e9, {rows.lldb: theirs / 1e9}, goal=0.6, unit="GB")


def rows(quick):
    all_rows = Rows(1 if quick else 5)
    for program in programs():
        say(program.name)
        program.warm()
        start(all_rows, program)
        symbols(all_rows, program, {"libLLVM": 0.09, "Rust program": 0.10}.get(program.name))
        if program.types:
            types(all_rows, program)
            lines(all_rows, program)
            memory(all_rows, program)
            lookup(all_rows, program, 1.6 if program.name.startswith("C++") else 0.5, 10_000 if quick else 100_000)
        else:
            xrefs(all_rows, program)
    return all_rows.rows
