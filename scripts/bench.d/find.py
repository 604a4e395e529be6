"""`find` beside its peers and beside the machine's limit."""

import sys
import time

import peers
from tools import NEEDLE, PLUGIN, Debuggee, Prompt, Session, Watch, limit, median, status

# No literal in it that could be looked for first.
REGEX = "[a-m][n-z]{2}[0-9]"
FIVE = [NEEDLE, *(f"Other{number}Needle2026" for number in range(1, 5))]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Rows:
    def __init__(self, size, repeats):
        self.size, self.repeats, self.rows = size, repeats, []
        self.names = peers.names()

    def add(self, name, unit, better, ours, peers=None, limit=None, memory=None, goal=None, **more):
        row = {"row": name, "unit": unit, "better": better, "ours": ours, "peers": peers or {}, "limit": limit}
        self.rows.append({**row, "memory": memory or {}, **({"goal": goal} if goal is not None else {}), **more})
        say(f"    {name}: {ours:.4g} {unit}" + (f", limit {limit:.4g}" if limit else ""))

    def speed(self, seconds):
        """GB/s over the whole memory."""
        return seconds and self.size / seconds / 1e9

    def scan(self, session, line):
        """Runs a search several times; returns its medians, and a worker's peak memory."""
        reports = []
        session.scan(line)
        for _ in range(self.repeats):
            reports.append(session.scan(line))
        # To watch takes processor time, which the workers would lack.
        with Watch(session.workers) as watch:
            session.scan(line)
        assert not reports[0]["skipped"], reports[0]["skipped"]
        seconds = {
            "ours": median(report["stats"]["seconds"] for report in reports),
            "scan": median(report["stats"]["scan_seconds"] for report in reports),
            "wall": median(report["wall"] for report in reports),
        }
        return seconds, watch.peak, reports[0]

    def speed_row(self, session, name, line, found=None, limit=None, others=None, goal_of_limit=None):
        seconds, memory, report = self.scan(session, line)
        if found is not None:
            assert report["total"] == found, f"{line}: {report['total']} of {found}"
        named, memories = {}, {"a worker": memory}
        for tool, peer_arguments in (others or {}).items():
            peer_seconds, peer_memory = peers.attempt(getattr(peers, tool), *peer_arguments)
            named[self.names[tool]] = self.speed(peer_seconds)
            if peer_memory:
                memories[tool] = peer_memory
        limit = self.speed(limit)
        self.add(
            name, "GB/s", "more", self.speed(seconds["ours"]), named, limit, memories,
            goal=limit and goal_of_limit and limit * goal_of_limit,
            scan=self.speed(seconds["scan"]), wall=self.speed(seconds["wall"]),
        )
        return seconds["ours"]


def place(debuggee):
    return f"--in {debuggee.start:#x}..{debuggee.end:#x}"


def live(rows, debuggee):
    find = f"mp-scan find {place(debuggee)}"
    needle = f"{find} --string {NEEDLE}"
    edges = (debuggee.pid, hex(debuggee.start), hex(debuggee.end))
    # All peers attach to it themselves, and only one may at a time.
    others = {"lldb": (debuggee,), "gdb": (debuggee,), "drgn": (debuggee,), "yara": (debuggee.pid,)}
    measured = {tool: peers.attempt(getattr(peers, tool), *arguments) for tool, arguments in others.items()}
    bare = {
        (source, threads): limit(source, *edges, "needle", NEEDLE, threads=threads, repeats=rows.repeats)
        for source in ("vm", "mem") for threads in (1, 2)
    }
    regex = {
        threads: limit("vm", *edges, "regex", REGEX, threads=threads, repeats=2) for threads in (1, 2)
    }
    pointers = (hex(debuggee.start), hex(debuggee.end))
    pointer_limit = limit("vm", *edges, "pointers", *pointers, threads=2, repeats=rows.repeats)

    with Session(MP_SCAN_READER="vm") as session:
        session.attach(debuggee)
        for workers in (2, 1):
            name = f"live, process_vm_readv, {workers} worker{'s' * (workers > 1)}"
            seconds = rows.speed_row(
                session, name, f"{needle} --workers {workers}", 3, bare["vm", workers], goal_of_limit=0.8
            )
            if workers == 2:
                one = seconds
                row = rows.rows[-1]
                for tool, (peer_seconds, memory) in measured.items():
                    row["peers"][rows.names[tool]] = rows.speed(peer_seconds)
                    if memory:
                        row["memory"][tool] = memory
        one_worker = rows.speed_row(session, "hard regex, 1 worker", f"{find} --regex {REGEX} --count --workers 1", None, regex[1])
        two_workers = rows.speed_row(session, "hard regex, 2 workers", f"{find} --regex {REGEX} --count --workers 2", None, regex[2])
        rows.add("hard regex, 2 workers against 1", "times", "more", one_worker / two_workers, goal=1.8)
        rows.speed_row(
            session, "aligned pointers into a range, 2 workers",
            f"{find} --pointer-range {debuggee.start:#x}..{debuggee.end:#x} --count --workers 2", None, pointer_limit,
            goal_of_limit=0.8,
        )
        five, _, _ = rows.scan(session, f"{find} {' '.join(f'--string {text}' for text in FIVE)} --workers 2")
        rows.add("five needles in one pass, against one", "times", "less", five["ours"] / one, goal=1.5)
        mixed = [f"--string {NEEDLE}", f"--regex {REGEX}", f"--pointer {debuggee.start + 0x1000:#x}", "--bytes '53 ?? 41 4e 99'"]
        separate = sum(rows.scan(session, f"{find} {one} --count --workers 2")[0]["ours"] for one in mixed)
        together, _, _ = rows.scan(session, f"{find} {' '.join(mixed)} --count --workers 2")
        rows.add("patterns of mixed kinds, against the sum of each", "times", "less", together["ours"] / separate, goal=1.1)
        grown = status(session.host.pid, "RssAnon")
        rows.scan(session, f"{needle} --workers 2")
        grown = status(session.host.pid, "RssAnon") - grown
        rows.add("LLDB's own memory, grown by a scan", "MiB", "less", max(grown, 0) / 2**20, goal=4)
        peak = max(row["memory"].get("a worker", 0) for row in rows.rows)
        rows.add("a worker's own memory, at its peak", "MiB", "less", peak / 2**20, goal=64)
        small = f"--in {debuggee.start:#x}..{debuggee.start + (1 << 20):#x}"
        reports = [session.scan(f"mp-scan find {small} --string {NEEDLE}") for _ in range(20)]
        rows.add("1 MiB, warm, from command to answer", "ms", "less", median(r["wall"] for r in reports) * 1e3, goal=5)
    cold = []
    for _ in range(rows.repeats):
        with Session(MP_SCAN_READER="vm") as session:
            session.attach(debuggee)
            cold.append(session.scan(f"mp-scan find {small} --string {NEEDLE}")["wall"])
    rows.add("1 MiB, cold, the pool starting", "ms", "less", median(cold) * 1e3, goal=30)
    with Session(MP_SCAN_READER="mem") as session:
        session.attach(debuggee)
        rows.speed_row(
            session, "live, /proc/PID/mem, 2 workers", f"{needle} --workers 2", 3, bare["mem", 2], goal_of_limit=0.8
        )


def first_match(rows, debuggee):
    """From Enter to the first match on the screen; it lies in the first block."""
    times = []
    with Prompt(f"plugin load {PLUGIN}", f"process attach --pid {debuggee.pid}") as prompt:
        prompt.expect("process attach")
        prompt.expect("Architecture set to")
        prompt.expect("(lldb) ")
        for _ in range(rows.repeats + 1):
            line = f"mp-scan find {place(debuggee)} --string {NEEDLE}"
            prompt.type_line(line)
            start = time.monotonic()
            prompt.expect(f"{debuggee.start + 1000:#018x}")
            times.append(time.monotonic() - start)
            prompt.expect("scanned in")
            prompt.expect("(lldb) ")
        prompt.type_line("process detach")
        prompt.expect("detached")
    # The first of them started the pool.
    rows.add("the first match on the screen", "ms", "less", median(times[1:]) * 1e3, goal=100)


def in_core(rows, debuggee):
    core = debuggee.core()
    others = {tool: (debuggee, core) for tool in ("lldb", "gdb", "drgn")} | {"ripgrep": (core,), "yara": (core,)}
    with Session() as session:
        session.open_core(debuggee, core)
        needle = f"mp-scan find {place(debuggee)} --string {NEEDLE}"
        for workers in (2, 1):
            bare = limit("file", core, 0, 0, "needle", NEEDLE, threads=workers, repeats=rows.repeats)
            rows.speed_row(
                session, f"core file, {workers} worker{'s' * (workers > 1)}", f"{needle} --workers {workers}", 3, bare,
                others if workers == 2 else None, goal_of_limit=0.8,
            )


def sparse(rows, quick):
    resident, mapped = (128, 12800) if quick else (1024, 102400)

    def seconds(**options):
        with Debuggee(needles=NEEDLE, resident=resident, **options) as debuggee, Session() as session:
            session.attach(debuggee)
            before = debuggee.resident()
            line = f"mp-scan find {place(debuggee)} --string {NEEDLE} --workers 2"
            median_seconds = rows.scan(session, line)[0]["ours"]
            grown = debuggee.resident() - before
            assert grown < 1 << 20, f"the process's resident size grew by {grown} bytes"
            return median_seconds

    dense = seconds(mapped=resident)
    for name, run, goal in (("one run", resident * 1024, 1.5), ("runs of 2 MiB", 2048, 2), ("single pages", 4, 5)):
        rows.add(
            f"{resident} MiB resident of {mapped} in {name}, against dense", "times", "less",
            seconds(mapped=mapped, run=run) / dense, goal=goal,
        )


def rows(quick):
    mib = 256 if quick else 2048
    all_rows = Rows(mib << 20, 3 if quick else 5)
    say(f"random memory, {mib} MiB")
    with Debuggee(mapped=mib, needles=NEEDLE) as debuggee:
        live(all_rows, debuggee)
        first_match(all_rows, debuggee)
        say("its core file")
        in_core(all_rows, debuggee)
    say("sparse memory")
    sparse(all_rows, quick)
    return all_rows.rows
