"""A result that does not decode kills the thread that takes results (python/cpython#79492, #103061)."""

import multiprocessing
import os


class Twice(Exception):
    def __init__(self, first, second):
        super().__init__(first)


def task(number):
    if number == 0:
        raise Twice(1, 2)
    return number


if __name__ == "__main__":
    pool = multiprocessing.Pool(2)
    first = pool.apply_async(task, (0,))
    first.wait(3)
    print("the task whose exception does not decode:", "ended" if first.ready() else "no answer after 3 s")
    others = [pool.apply_async(task, (number,)) for number in range(1, 5)]
    others[0].wait(3)
    print(f"four good tasks after it: {sum(other.ready() for other in others)} ended after 3 s")
    try:
        pool.terminate()
    except AssertionError as error:
        print("terminate():", error, flush=True)
    # It would never end: it waits for its workers, which nobody has told to end.
    for worker in pool._pool:
        worker.kill()
    os._exit(0)
