"""terminate() hangs (python/cpython#78178, #73945, #87015)."""

import multiprocessing
import os
import signal
import threading
import time


def deaf(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def terminate(pool):
    """Whether terminate() returns within 5 s."""
    thread = threading.Thread(target=pool.terminate, daemon=True)
    thread.start()
    thread.join(5)
    return "hangs: 5 s" if thread.is_alive() else "returns"


if __name__ == "__main__":
    workers = []
    pool = multiprocessing.Pool(2)
    workers += pool._pool
    pool.map_async(deaf, range(2), chunksize=1)
    time.sleep(0.5)
    print("terminate() with tasks that ignore SIGTERM:", terminate(pool), flush=True)

    pool = multiprocessing.Pool(2)
    workers += pool._pool
    time.sleep(0.5)
    for worker in list(pool._pool):
        os.kill(worker.pid, signal.SIGKILL)
    time.sleep(1)
    workers += pool._pool
    print("terminate() after idle workers were killed:", terminate(pool), flush=True)
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    os._exit(0)
