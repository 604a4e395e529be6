"""A result of 256 MiB costs twice as much in both processes (python/cpython#96059)."""

import multiprocessing
import resource

SIZE = 256 << 20


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def task(_):
    return b"\1" * SIZE


def ask(_):
    return peak()


if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        before, worker_before = peak(), pool.apply(ask, (0,))
        result = pool.apply(task, (0,))
        assert len(result) == SIZE
        print(f"peak: {peak() - before} MiB more in the host, {pool.apply(ask, (0,)) - worker_before} MiB more in the worker")
