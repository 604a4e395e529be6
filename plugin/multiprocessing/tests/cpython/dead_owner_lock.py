"""The lock of a dead owner is never released (python/cpython#88304)."""

import multiprocessing
import os
import signal
import time


def take(lock, taken):
    lock.acquire()
    taken.set()
    time.sleep(60)


if __name__ == "__main__":
    lock, taken = multiprocessing.Lock(), multiprocessing.Event()
    owner = multiprocessing.Process(target=take, args=(lock, taken))
    owner.start()
    taken.wait()
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    print("acquire(timeout=5) after the owner's death:", lock.acquire(timeout=5))
