"""The larger the host, the longer a fork takes (by design)."""

import multiprocessing
import os
import statistics
import time


def nothing():
    pass


def start():
    """Milliseconds that `start` takes in the host."""
    process = multiprocessing.get_context("fork").Process(target=nothing)
    begin = time.perf_counter()
    process.start()
    milliseconds = (time.perf_counter() - begin) * 1e3
    process.join()
    return milliseconds


def spawn():
    begin = time.perf_counter()
    pid = os.posix_spawn("/bin/true", ["true"], {})
    milliseconds = (time.perf_counter() - begin) * 1e3
    os.waitpid(pid, 0)
    return milliseconds


def median(what):
    return statistics.median(what() for _ in range(9))


if __name__ == "__main__":
    small = median(start)
    memory = bytearray(b"\1") * (1 << 30)
    print(f"start by fork: {small:.2f} ms; with 1 GiB resident {median(start):.2f} ms, where posix_spawn takes {median(spawn):.2f} ms")
