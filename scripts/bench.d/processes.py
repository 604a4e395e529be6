"""mp-scan's library of processes beside CPython's multiprocessing, ipc-channel, procspawn, and the machine's limit.

Every figure comes from a process of its own, which pins itself and those that it starts: the parent to the first processor
that may be used; the other process to the same one in the rows of one core, else to the second. The processes of a pool
have the use of both. Who takes part in a row takes turns, some rounds of it, and the figure is the median of all.
Memory is the most that all processes of a row have of their own at a time. It is watched in a run of its own, which is not
timed, with less to do.
"""

import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tools import TARGET, descendants, own_memory

HERE = Path(__file__).resolve().parent
PROGRAM = TARGET / "bench/multiprocessing/release/bench-multiprocessing"
# A measurement that takes longer than this, in seconds, has hung.
PATIENCE = 180

ONE_CORE, TWO_CORES, POOL = "same core", "cross core", "2 workers on 2 cores"


def of(peer, factor):
    """What is to be reached: this much of what a peer has."""
    return lambda peers: peers[peer] * factor if peers.get(peer) is not None else None


def most(goals):
    """The highest of some goals."""
    return lambda peers: max((goal for goal in (goal(peers) for goal in goals) if goal is not None), default=None)


def just(value):
    return lambda _: value


def rows_of(python):
    """(row, unit, better, placement, CPython's ways, other peers, goal)."""
    ipc, spawn = "ipc-channel-0.23", "procspawn-1.0"
    pipe = {"Pipe": "fork"}
    queues = {"Queue": "fork:Queue", "SimpleQueue": "fork:SimpleQueue"}
    starts = {"spawn": "spawn", "fork": "fork", "forkserver": "forkserver"}
    shared = {"shared_memory": "fork"}
    queue_goal = most([of(f"{python} Queue", 10), of(ipc, 2)])
    return [
        ("round_trip_same_core", "µs", "less", ONE_CORE, pipe, [ipc], of(ipc, 0.6)),
        ("round_trip_cross_core", "µs", "less", TWO_CORES, pipe, [ipc], just(2)),
        ("queue_64b", "k/s", "more", TWO_CORES, queues, [ipc], queue_goal),
        ("queue_64b_same_core", "k/s", "more", ONE_CORE, queues, [ipc], queue_goal),
        ("queue_1mib", "GiB/s", "more", TWO_CORES, queues, [ipc], of(f"{python} Queue", 5)),
        ("pool_map", "µs/task", "less", POOL, {"Pool.map, chunksize=1": "fork"}, [spawn], just(2)),
        ("pool_start", "ms", "less", POOL, starts, [spawn], just(2.5)),
        ("start_small_host", "ms", "less", POOL, starts, [spawn], just(2.5)),
        # What a host has resident and how many threads it has is to make no difference; some noise may.
        ("start_large_host", "ms", "less", POOL, starts, [spawn], just(2.5)),
        ("handover_64mib", "ms", "less", TWO_CORES, shared, [ipc], just(0.1)),
        ("refill_64mib", "ms", "less", TWO_CORES, shared, [ipc], just(8)),
        ("fill_64mib", "ms", "less", TWO_CORES, shared, [ipc], just(30)),
        (
            "death_to_error", "ms", "less", POOL,
            {"Pool": "fork", "ProcessPoolExecutor (fails all)": "fork:ProcessPoolExecutor"}, [spawn], just(5),
        ),
    ]


def newest_python():
    """The newest CPython of the machine, and what it is called in the rows."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin"))]
    found = {}
    for folder in folders:
        for program in glob.glob(f"{folder}/python3*"):
            # A shim of pyenv's is none, and neither is `python3-config`.
            if not re.fullmatch(r"python3(\.\d+)?", os.path.basename(program)) or "/shims/" in program:
                continue
            version = subprocess.run([program, "--version"], capture_output=True, text=True)
            if match := re.match(r"Python (\d+)\.(\d+)\.(\d+)$", version.stdout.strip()):
                found[tuple(int(part) for part in match.groups())] = program
    version = max(found)
    return found[version], f"cpython-{version[0]}.{version[1]}"


def values(command):
    """The figures that a command prints; none if it cannot, with the reason on stderr."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        output, errors = "", "it hung"
    if process.returncode:
        print(f"{' '.join(map(str, command))}: {errors.strip()[-300:]}", file=sys.stderr)
        return []
    return json.loads(output) or []


def peak_memory(command):
    """The most memory that a command and its processes have at a time, in bytes."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    peak, deadline = 0, time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        peak = max(peak, own_memory(descendants(process.pid)))
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
    return peak


def rows(quick, only=None):
    rounds, repeats, scale = (1, 3, 10) if quick else (3, 5, 1)
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        sys.exit("this takes two processors")
    python, name = newest_python()
    measured = []
    for row, unit, better, placement, ways, others, goal in rows_of(name):
        if only and row not in only:
            continue
        second = processors[0] if placement == ONE_CORE else processors[1]
        arguments = [str(argument) for argument in (processors[0], second, repeats, scale)]
        commands = {who: [PROGRAM, who, row, *arguments] for who in ("ours", "limit")}
        for way, how in ways.items():
            commands[f"{name} {way}"] = [python, HERE / "cpython_row.py", row, how, *arguments]
        for peer in others:
            commands[peer] = [PROGRAM, peer.rsplit("-", 1)[0], row, *arguments]
        figures = {who: [] for who in commands}
        for _ in range(rounds):
            for who, command in commands.items():
                figures[who] += values(command)
        brief = [*arguments[:2], "1", "10"]
        watched = {who: [*command[:-4], *brief] for who, command in commands.items() if figures[who] and who != "limit"}
        memory = {who: peak_memory(command) for who, command in watched.items()}
        medians = {who: statistics.median(found) if found else None for who, found in figures.items()}
        ours, limit = medians.pop("ours"), medians.pop("limit")
        measured.append({
            "row": row, "unit": unit, "better": better, "placement": placement,
            "ours": ours, "peers": medians, "limit": limit, "memory": memory, "goal": goal(medians),
            # Whoever has no figure in a row that is about how long a failure takes has waited until it was stopped.
            "nothing": {who: "never" for who in medians if row == "death_to_error"},
        })
        print(f"{row}: done", file=sys.stderr)
    return measured
