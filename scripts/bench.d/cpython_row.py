"""CPython's multiprocessing, measured: `cpython_row.py ROW HOW CPU CPU REPEATS SCALE` prints its values as a JSON list.

HOW is a start method, and for some rows the thing that is measured, `fork:SimpleQueue`. Rows and figures are those of
bench.d/multiprocessing/src; what the row's processes share is theirs in the same way. It runs on any CPython from 3.8 on.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import shared_memory

SMALL, LARGE, SEGMENT, WORKERS = 64, 1 << 20, 64 << 20, 2
HOST_BYTES, HOST_THREADS = 1 << 30, 64


def filled(size):
    """Bytes that are not all the same, all resident."""
    return b"".join(bytes([page & 0xFF | 1]) * min(4096, size) for page in range(max(size // 4096, 1)))


def repeat(repeats, once):
    """As many values, after one that does not count."""
    once()
    return [once() for _ in range(repeats)]


def timed(what):
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def pin(*processors):
    os.sched_setaffinity(0, processors)


def echo(cpu, end):
    pin(cpu)
    while (message := end.recv()) is not None:
        end.send(message)


def round_trip(context, _, cpus, repeats, scale):
    count = 20_000 // scale
    ours, theirs = context.Pipe()
    child = context.Process(target=echo, args=(cpus[1], theirs))
    child.start()
    message = bytes(SMALL)

    def once():
        for _ in range(count):
            ours.send(message)
            ours.recv()

    values = repeat(repeats, lambda: timed(once) / count * 1e6)
    ours.send(None)
    child.join()
    return values


def produce(cpu, orders, queue, size):
    pin(cpu)
    message = filled(size)
    while (count := orders.recv()) is not None:
        for _ in range(count):
            queue.put(message)


def queue(size, count, figure):
    def row(context, kind, cpus, repeats, scale):
        # A queue with the default bound on neither side.
        messages = context.SimpleQueue() if kind == "SimpleQueue" else context.Queue()
        ours, theirs = context.Pipe()
        child = context.Process(target=produce, args=(cpus[1], theirs, messages, size))
        child.start()
        number = max(count // scale, 1)

        def once():
            ours.send(number)
            for _ in range(number):
                messages.get()

        values = repeat(repeats, lambda: figure(number, timed(once)))
        ours.send(None)
        child.join()
        return values

    return row


def increment(number):
    return number + 1


def pool_map(context, _, cpus, repeats, scale):
    pin(*cpus)
    count = 10_000 // scale
    with context.Pool(WORKERS) as pool:
        return repeat(repeats, lambda: timed(lambda: pool.map(increment, range(count), chunksize=1)) / count * 1e6)


def start(context, _, cpus, repeats, scale):
    pin(*cpus)

    def once():
        pool = None

        def work():
            nonlocal pool
            pool = context.Pool(WORKERS)
            pool.map(increment, range(WORKERS), chunksize=1)

        seconds = timed(work)
        pool.close()
        pool.join()
        return seconds * 1e3

    return repeat(repeats, once)


def start_large(context, kind, cpus, repeats, scale):
    memory = bytearray(b"\1") * HOST_BYTES
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(HOST_THREADS)]
    for thread in threads:
        thread.start()
    try:
        return start(context, kind, cpus, repeats, scale)
    finally:
        end.set()
        del memory


def use(cpu, end):
    """Maps each segment that it is named, and says that it has."""
    pin(cpu)
    while (name := end.recv()) is not None:
        memory = shared_memory.SharedMemory(name)
        end.send(memory.buf[0] ^ memory.buf[SEGMENT - 1])
        memory.close()


def segments(row):
    def measure(context, _, cpus, repeats, scale):
        ours, theirs = context.Pipe()
        child = context.Process(target=use, args=(cpus[1], theirs))
        source = filled(SEGMENT)
        memory = shared_memory.SharedMemory(create=True, size=SEGMENT)
        memory.buf[:SEGMENT] = source
        child.start()

        def hand_over(memory):
            ours.send(memory.name)
            ours.recv()

        def once():
            if row == "handover":
                hand_over(memory)
            elif row == "refill":
                memory.buf[:SEGMENT] = source
                hand_over(memory)
            else:
                fresh = shared_memory.SharedMemory(create=True, size=SEGMENT)
                fresh.buf[:SEGMENT] = source
                hand_over(fresh)
                fresh.close()
                fresh.unlink()

        values = repeat(repeats, lambda: timed(once) * 1e3)
        ours.send(None)
        child.join()
        memory.close()
        memory.unlink()
        return values

    return measure


def death(context, kind, cpus, repeats, scale):
    pin(*cpus)

    def executor():
        with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
            future = pool.submit(time.sleep, 60)
            time.sleep(0.3)
            # One of the two has the task, and which one cannot be asked; the death of either is that of the pool.
            pid = next(iter(pool._processes))
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            try:
                future.result()
            except BrokenProcessPool:
                return (time.perf_counter() - begin) * 1e3
        raise AssertionError("the dead have worked")

    def pool():
        # Ten times what may pass: it does not come at all.
        workers = context.Pool(1)
        task = workers.apply_async(time.sleep, (60,))
        time.sleep(0.3)
        begin = time.perf_counter()
        os.kill(workers._pool[0].pid, signal.SIGKILL)
        task.wait(5)
        seconds = time.perf_counter() - begin
        for process in multiprocessing.active_children():
            process.kill()
        if not task.ready():
            print("null", flush=True)
            os._exit(0)
        return seconds * 1e3

    return repeat(repeats, executor if kind == "ProcessPoolExecutor" else pool)


ROWS = {
    "round_trip_same_core": round_trip,
    "round_trip_cross_core": round_trip,
    "queue_64b": queue(SMALL, 100_000, lambda count, seconds: count / seconds / 1e3),
    "queue_64b_same_core": queue(SMALL, 100_000, lambda count, seconds: count / seconds / 1e3),
    "queue_1mib": queue(LARGE, 500, lambda count, seconds: count * LARGE / seconds / 2**30),
    "pool_map": pool_map,
    "pool_start": start,
    "start_small_host": start,
    "start_large_host": start_large,
    "handover_64mib": segments("handover"),
    "refill_64mib": segments("refill"),
    "fill_64mib": segments("fill"),
    "death_to_error": death,
}


def main():
    row, how, parent, other, repeats, scale = sys.argv[1:]
    method, _, kind = how.partition(":")
    cpus = (int(parent), int(other))
    pin(cpus[0])
    context = multiprocessing.get_context(method)
    print(json.dumps(ROWS[row](context, kind, cpus, int(repeats), int(scale))))


if __name__ == "__main__":
    main()
