"""Starting two workers, each of which does one task, takes long."""

import multiprocessing
import statistics
import time


def task(number):
    return number


def start(method):
    begin = time.perf_counter()
    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.map(task, range(2), chunksize=1)
        return (time.perf_counter() - begin) * 1e3


if __name__ == "__main__":
    print("; ".join(f"{way} {statistics.median(start(way) for _ in range(5)):.0f} ms" for way in ("fork", "spawn")))
