"""The resource tracker of a process that attached to a segment unlinks it at its end (python/cpython#82300)."""

import subprocess
import sys
from multiprocessing import shared_memory

ATTACH = "import sys; from multiprocessing import shared_memory; shared_memory.SharedMemory(sys.argv[1]).close()"

if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=4096)
    ended = subprocess.run([sys.executable, "-c", ATTACH, memory.name], stderr=subprocess.PIPE, text=True)
    warnings = [line for line in ended.stderr.splitlines() if "leaked" in line]
    print("the other process says:", warnings[0].split("UserWarning: ")[-1] if warnings else "nothing")
    try:
        shared_memory.SharedMemory(memory.name).close()
        print("the segment, which its owner still has: is there")
    except FileNotFoundError:
        print("the segment, which its owner still has: gone")
    memory.close()
    try:
        memory.unlink()
    except FileNotFoundError:
        pass
