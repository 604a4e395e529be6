"""imap reads its input without bound, whether its results are taken or not (python/cpython#64192, #101586)."""

import multiprocessing
import time

read = 0


def numbers():
    global read
    for number in range(1_000_000):
        read += 1
        yield number


def task(number):
    time.sleep(0.001)
    return number


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        results = pool.imap(task, numbers())
        next(results)
        time.sleep(2)
        print(f"one result was taken, and 2 s later {read} items of the input were read")
