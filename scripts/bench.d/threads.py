"""`stacks` and `deadlocks` beside LLDB, gdb and eu-stack, on a process of 2 001 threads and its core file, and on one of 20 001."""

import re
import shutil
import sys

import peers
from tools import Debuggee, Session, Watch, measure, median


def say(text):
    print(text, file=sys.stderr, flush=True)


class Rows:
    def __init__(self, repeats):
        self.repeats, self.rows = repeats, []
        self.lldb = f"lldb-{peers.version(['lldb-22', '--version'])} thread backtrace unique"
        self.gdb = f"gdb-{peers.version(['gdb', '--version'], r'(?m)^GNU gdb.* ([0-9.]+)')} thread apply all bt"
        self.eu_stack = f"eu-stack-{peers.version(['eu-stack', '--version'])}"

    def add(self, name, ours, others=None, memory=None, goal=None):
        row = {"row": name, "unit": "s", "better": "less", "ours": ours, "peers": others or {}, "limit": None}
        self.rows.append({**row, "memory": memory or {}, **({"goal": goal} if goal is not None else {})})
        say(f"    {name}: {ours:.4g} s")


class Where:
    """A process, or the core file of one: what a new session begins with."""

    def __init__(self, name, debuggee, threads, core=None):
        self.name, self.debuggee, self.threads, self.core = name, debuggee, threads, core

    def session(self, plugin=True):
        session = Session(plugin=plugin)
        if self.core:
            session.open_core(self.debuggee, self.core)
        else:
            session.attach(self.debuggee)
        return session

    def check(self, report):
        """That all threads are there, and all stacks whole."""
        counted = sum(row["count"] for row in report["results"])
        assert counted == self.threads, f"{counted} threads of {self.threads}"
        early = [row["end"] for row in report["results"] if "end" in row]
        assert not early, early


def ours(rows, where, line, check):
    """Median seconds of a command as the first of its session, with the start of the workers, and of the same command again;
    and the most memory that a worker has."""
    first, again, memory = [], [], []
    for _ in range(rows.repeats):
        with where.session() as session, Watch(session.workers) as watch:
            for seconds in (first, again):
                report = session.scan(line)
                check(report)
                seconds.append(report["wall"])
        memory.append(watch.peak)
    return median(first), median(again), max(memory)


def check_waits(where, report):
    """That each thread that waits for a futex is told of once."""
    with where.session() as session:
        stacks = session.scan("mp-scan stacks --limit 100000")["results"]
    waiting = sum(row["states"].get("futex", 0) for row in stacks)
    told = [thread for row in report["results"] for thread in row["threads"] + row.get("behind", [])]
    assert len(told) == len(set(told)) == waiting, f"{len(told)} threads are told of, {len(set(told))} different ones, of {waiting}"


def lldb(where):
    """Seconds in a session that is attached, or has opened the core file."""
    with where.session(plugin=False) as session:
        output, seconds = session.run("thread backtrace unique")
        assert output.count("thread(s)") >= 1, output[:200]
        return seconds


def gdb(where):
    target = [where.debuggee.program, where.core] if where.core else ["-p", str(where.debuggee.pid)]
    timed = "python import time; start = time.time(); gdb.execute('thread apply all bt', to_string=True); print('took', time.time() - start)"
    text, _, _ = measure(["gdb", "--nx", "--batch", "-iex", "set debuginfod enabled off", *target, "-ex", timed])
    return float(re.search(r"took ([0-9.e-]+)", text)[1])


def eu_stack(where):
    """Seconds of the whole program, which can do nothing else; without the names of sources, which take it longer still."""
    if not shutil.which("eu-stack"):
        return None
    target = [f"--core={where.core}", f"--executable={where.debuggee.program}"] if where.core else ["-p", str(where.debuggee.pid)]
    # It ends with 1 where any stack is deeper than it shows.
    _, seconds, _ = measure(["bash", "-c", '"$@" || [ $? = 1 ]', "bash", "eu-stack", "-n", "0", *target])
    return seconds


def compare(rows, where, goals, repeats):
    first, again, memory = ours(rows, where, "mp-scan stacks --limit 100000", where.check)
    others = {
        rows.lldb: median(lldb(where) for _ in range(repeats)),
        rows.gdb: median(gdb(where) for _ in range(repeats)),
    }
    others[rows.eu_stack] = eu_stack(where)
    rows.add(f"stacks, {where.name}, first command", first, others, {"a worker": memory}, goals["first"])
    rows.add(f"stacks, {where.name}, again", again, goal=goals["again"])
    reports = []
    waits = ours(rows, where, "mp-scan deadlocks --limit 100000", reports.append)
    check_waits(where, reports[0])
    # No peer finds out who waits for whom, so it is to be no slower than showing the stacks.
    rows.add(f"deadlocks, {where.name}, first command", waits[0], memory={"a worker": waits[2]}, goal=goals["first"])
    rows.add(f"deadlocks, {where.name}, again", waits[1], goal=goals["again"])
    return first, again


def rows(quick):
    measured = Rows(1 if quick else 5)
    small, large = 2000, 20000
    with Debuggee("stacks.cpp", threads=small - 1, running=0) as debuggee:
        say("  2 001 threads")
        core = debuggee.core()
        goals = {"core file": {"first": None, "again": 0.05}, "live": {"first": 0.3, "again": None}}
        took = {}
        for where in (Where("core file", debuggee, small + 1, core), Where("live", debuggee, small + 1)):
            took[where.name] = compare(measured, where, goals[where.name], 1 if quick else 3)
    if quick:
        return measured.rows
    with Debuggee("stacks.cpp", threads=large - 1, running=0) as debuggee:
        say("  20 001 threads")
        core = debuggee.core()
        for where in (Where("core file", debuggee, large + 1, core), Where("live", debuggee, large + 1)):
            first, again, memory = ours(measured, where, "mp-scan stacks --limit 100000", where.check)
            in_proportion = [seconds * large / small for seconds in took[where.name]]
            name = f"stacks, {where.name} of 20 001 threads"
            measured.add(f"{name}, first command", first, memory={"a worker": memory}, goal=in_proportion[0])
            measured.add(f"{name}, again", again, goal=in_proportion[1])
    return measured.rows
