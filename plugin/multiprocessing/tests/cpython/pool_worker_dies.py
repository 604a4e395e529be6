"""Pool waits for ever for the task of a worker that died (python/cpython#96062, #66587)."""

import multiprocessing
import os
import signal


def task(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        results = [pool.apply_async(task, (number,)) for number in range(10)]
        ended = []
        for number, result in enumerate(results):
            result.wait(1 if number == 3 else 5)
            if result.ready():
                ended.append(number)
        print(f"tasks that ended: {ended}")
        results[3].wait(5)
        print("task 3, whose worker was killed:", "ended" if results[3].ready() else "no answer after 6 s")
