"""A child forked while another thread holds a lock waits for it for ever (python/cpython#84559)."""

import multiprocessing
import threading
import time

lock = threading.Lock()


def hold():
    while True:
        with lock:
            time.sleep(0.05)


def task():
    with lock:
        pass


if __name__ == "__main__":
    threading.Thread(target=hold, daemon=True).start()
    time.sleep(0.02)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=task) for _ in range(10)]
    for child in children:
        child.start()
    for child in children:
        child.join(1)
    stuck = [child for child in children if child.is_alive()]
    print(f"of 10 children of a process with 2 threads, {len(stuck)} are stuck after 1 s or more")
    for child in stuck:
        child.kill()
        child.join()
