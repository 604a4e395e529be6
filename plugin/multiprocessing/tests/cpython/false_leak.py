"""The resource tracker reports a leak where there is none (python/cpython#104291, #82300)."""

import subprocess
import sys

PROGRAM = """
import multiprocessing
from multiprocessing import shared_memory

def attach(name):
    shared_memory.SharedMemory(name).close()

if __name__ == "__main__":
    # The child is forked before there is a tracker, so it has one of its own.
    ready, other = multiprocessing.Pipe()
    child = multiprocessing.Process(target=lambda: (attach(other.recv()), other.send(None)))
    child.start()
    memory = shared_memory.SharedMemory(create=True, size=4096)
    ready.send(memory.name)
    ready.recv()
    child.join()
    memory.close()
    memory.unlink()
"""

if __name__ == "__main__":
    ended = subprocess.run([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True)
    warnings = [line.split("UserWarning: ")[-1] for line in ended.stderr.splitlines() if "UserWarning" in line]
    print("a segment that was closed by both and unlinked by its owner:", warnings or "no word")
