"""ProcessPoolExecutor fails every pending future when one worker dies, and is unusable after (by design)."""

import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor


def task(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return number


if __name__ == "__main__":
    pool = ProcessPoolExecutor(2)
    futures = [pool.submit(task, number) for number in range(20)]
    errors = [future.exception() for future in futures]
    print(f"20 tasks, one of which kills its worker: {sum(error is not None for error in errors)} failed")
    try:
        pool.submit(task, 0)
        print("the pool goes on")
    except Exception as error:
        print(f"one more: {type(error).__name__}: {error}")
