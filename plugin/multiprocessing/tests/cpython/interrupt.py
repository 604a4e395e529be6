"""Ctrl-C is not the end of a program with an executor while its tasks run; killed, it leaves workers (python/cpython#125886)."""

import os
import signal
import subprocess
import sys
import time

POOL = """
import multiprocessing, sys, time
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print("ready", flush=True)
        pool.map(time.sleep, [30, 30])
"""
EXECUTOR = """
import concurrent.futures, sys, time
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(time.sleep, 30) for _ in range(4)]
        print("ready", flush=True)
        for future in futures:
            future.result()
"""


def session(leader):
    """The processes of a session that run."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, _, _, sid = file.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        count += int(sid) == leader and state != "Z"
    return count


def attempt(name, program, number, to_all):
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    host.stdout.readline()
    time.sleep(0.5)
    (os.killpg if to_all else os.kill)(host.pid, number)
    begin = time.monotonic()
    try:
        host.wait(5)
        what = f"the program ended after {time.monotonic() - begin:.1f} s"
    except subprocess.TimeoutExpired:
        what = "the program still runs after 5 s"
    time.sleep(0.5)
    workers = session(host.pid) - (host.poll() is None)
    print(f"{name}: {what}, {workers} workers are left")
    try:
        os.killpg(host.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    host.wait()


if __name__ == "__main__":
    attempt("Pool, Ctrl-C at the terminal", POOL, signal.SIGINT, True)
    attempt("Pool, SIGINT to the program", POOL, signal.SIGINT, False)
    attempt("Pool, SIGTERM to the program", POOL, signal.SIGTERM, False)
    attempt("Pool, SIGKILL to the program", POOL, signal.SIGKILL, False)
    attempt("executor, Ctrl-C at the terminal", EXECUTOR, signal.SIGINT, True)
    attempt("executor, SIGINT to the program", EXECUTOR, signal.SIGINT, False)
    attempt("executor, SIGKILL to the program", EXECUTOR, signal.SIGKILL, False)
