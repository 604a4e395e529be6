"""The heap commands beside chap, on a process of 2.66 million chunks and its core file; and how they grow with the heap."""

import re
import subprocess
import sys
import tempfile

import peers
from tools import TARGET, Debuggee, Session, descendants, measure, median, own_memory, status

CHAP = TARGET / "bench/chap/chap"
# What was measured once on another machine, for where chap cannot be built: seconds, in the core file.
CHAP_ELSEWHERE = "chap is missing; elsewhere it took 3.3 s for leaks, 3.4 s for types and 3.4 s for a first reference, and 689 MB"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Rows:
    def __init__(self, repeats):
        self.repeats, self.rows = repeats, []
        self.chap = f"chap-{revision()}"

    def add(self, name, ours, others=None, memory=None, goal=None, unit="s"):
        row = {"row": name, "unit": unit, "better": "less", "ours": ours, "peers": others or {}, "limit": None}
        self.rows.append({**row, "memory": memory or {}, **({"goal": goal} if goal is not None else {})})
        say(f"    {name}: {ours:.4g} {unit}")


def revision():
    """Which chap it is: it has no version of its own."""
    source = TARGET / "bench/chap/source"
    described = subprocess.run(["git", "-C", source, "log", "-1", "--format=%cs"], capture_output=True, text=True).stdout
    here = subprocess.run(["git", "-C", source, "rev-parse", "--show-toplevel"], capture_output=True, text=True).stdout
    return described.strip() if here.strip() == str(source) else "from source"


class Where:
    """A process, or the core file of one: what a new session begins with."""

    def __init__(self, name, debuggee, core=None):
        self.name, self.debuggee, self.core = name, debuggee, core

    def session(self, **environment):
        session = Session(**environment)
        if self.core:
            session.open_core(self.debuggee, self.core)
        else:
            session.attach(self.debuggee)
        return session


def everyone(session):
    """The debugger and its workers, which share the index."""
    return own_memory(descendants(session.host.pid))


def cold(rows, where, line, check=lambda report: None):
    """The median seconds of a command that is the first of its session, starting the workers included; and how much more memory
    there is after it, in all processes."""
    seconds, memory = [], []
    for _ in range(rows.repeats):
        with where.session() as session:
            before = everyone(session)
            report = session.scan(line)
            seconds.append(report["wall"])
            memory.append(everyone(session) - before)
            assert not report["skipped"], report["skipped"]
            check(report)
    return median(seconds), max(memory)


def chap(core, commands, pattern):
    """Seconds and memory of chap, which reads its commands from its standard input; and what it counts."""
    with tempfile.NamedTemporaryFile("w", suffix=".chap") as file:
        file.write("\n".join(commands) + "\n")
        file.flush()
        text, seconds, memory = measure(["bash", "-c", f"{CHAP} {core} < {file.name}"])
    found = re.search(pattern, text)
    assert found, text[:300]
    return seconds, memory, found[1]


def peer(rows, core, commands, pattern):
    """A peer's figure and memory for a row; nothing where it is missing."""
    if not (core and CHAP.exists()):
        return {}, {}
    seconds, memory, counted = chap(core, commands, pattern)
    say(f"      chap: {counted}")
    return {rows.chap: seconds}, {"chap": memory}


def leaks(rows, where, truth):
    expected = sum(kind == "leak" for kind, _, _ in truth)

    def exact(report):
        assert report["total"] == expected, f"{report['total']} leaks of {expected}"

    ours, memory = cold(rows, where, "mp-scan leaks", exact)
    others, theirs = peer(rows, where.core, ["count leaked"], r"(\d+) allocations use")
    rows.add(f"{where.name}: leaks, the first command", ours, others, {"all of ours": memory, **theirs}, 1.5)


def references(rows, where, truth):
    address = next(address for kind, label, address in truth if kind == "leak" and label.startswith("held"))
    line = f"mp-scan refs {address:#x}"
    ours, memory = cold(rows, where, line)
    commands = [f"count incoming {address:x}"]
    others, theirs = peer(rows, where.core, commands, r"(\d+) allocations use")
    rows.add(f"{where.name}: who points to an allocation, the first command", ours, others, {"all of ours": memory, **theirs}, 0.1)
    with where.session() as session:
        session.scan(line)
        # What makes the next ones fast may be made behind the prompt.
        for _ in range(100):
            after = [session.scan(line)["wall"] for _ in range(5)]
            if median(after) < 0.005:
                break
        rows.add(f"{where.name}: the same, again", median(after) * 1e3, goal=5, unit="ms")
        line = f"mp-scan refs {address & ~0xffff:#x}..{(address & ~0xffff) + 0x10000:#x}"
        after = [session.scan(line)["wall"] for _ in range(5)]
        rows.add(f"{where.name}: who points into 64 KiB, again", median(after) * 1e3, goal=5, unit="ms")


def contents(rows, where, truth):
    counts = {label: number for kind, label, number in truth if kind == "count"}

    def right(report):
        found = {row["key"]: row["count"] for row in report["results"]}
        for name in ("Request", "Buffer", "Listener"):
            assert found.get(name) == counts[name], f"{found.get(name)} of {counts[name]} {name}"

    ours, memory = cold(rows, where, "mp-scan heap --top 1000", right)
    others, theirs = peer(rows, where.core, ["summarize used"], r"(\d+) allocations use")
    rows.add(f"{where.name}: the heap by type, the first command", ours, others, {"all of ours": memory, **theirs}, 1)
    ours, memory = cold(rows, where, "mp-scan objects ^Listener$ --limit 10")
    others, theirs = peer(rows, where.core, ["count used Listener"], r"(\d+) allocations use")
    rows.add(f"{where.name}: objects of one type, the first command", ours, others, {"all of ours": memory, **theirs})
    ours, memory = cold(rows, where, "mp-scan heap --retained")
    rows.add(f"{where.name}: what types retain, the first command", ours, {}, {"all of ours": memory})
    ours, memory = cold(rows, where, "mp-scan heap --check")
    rows.add(f"{where.name}: heap --check, the first command", ours, {}, {"all of ours": memory})


def slopes(rows, gigabytes):
    """Seconds and bytes for each million of chunks, as the heap grows."""
    for size in gigabytes:
        with Debuggee("heap_mix.cpp", chunks=int(size * 10_000)) as debuggee:
            where = Where(f"{size} GB", debuggee)
            resident = debuggee.resident() / 2**30
            with where.session() as session:
                totals = session.scan("mp-scan heap --by region")["totals"]
            millions = (totals["used"]["count"] + totals["free"]["count"]) / 1e6
            say(f"{millions:.1f} million chunks, {resident:.1f} GiB")
            for name, line in (
                ("leaks", "mp-scan leaks"),
                ("refs", f"mp-scan refs {debuggee.truth[-1][2]:#x}"),
                ("heap by type", "mp-scan heap"),
            ):
                seconds, memory = cold(rows, where, line)
                rows.add(f"{millions:.1f} M chunks: {name}, the first command", seconds)
                rows.add(f"{millions:.1f} M chunks: {name}, for a million chunks", seconds * 1e3 / millions, unit="ms")
                rows.add(f"{millions:.1f} M chunks: {name}, memory for a chunk", memory / millions / 1e6, unit="bytes")
            with where.session() as session:
                before = everyone(session)
                session.scan("mp-scan heap --by region")
                index = (everyone(session) - before) / millions / 1e6
            # What a pool of workers takes by itself is in it, and weighs less the larger the heap is.
            rows.add(f"{millions:.1f} M chunks: what is kept for the stop, for a chunk", index, unit="bytes", goal=24)


def rows(quick):
    if not CHAP.exists():
        say(CHAP_ELSEWHERE)
    all_rows = Rows(1 if quick else 5)
    thousands = 260 if quick else 2660
    with Debuggee("heap_mix.cpp", chunks=thousands) as debuggee:
        say(f"{thousands / 1000:.2f} million chunks, {status(debuggee.pid, 'RssAnon') >> 20} MiB")
        core = debuggee.core()
        for where in (Where("core", debuggee, core), Where("live", debuggee)):
            leaks(all_rows, where, debuggee.truth)
            references(all_rows, where, debuggee.truth)
            contents(all_rows, where, debuggee.truth)
    say("larger heaps")
    all_rows.repeats = 1 if quick else 3
    slopes(all_rows, [0.1, 0.2] if quick else [1, 2, 4])
    return all_rows.rows
