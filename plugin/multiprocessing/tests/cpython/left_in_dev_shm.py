"""After a SIGKILL of a program and its tracker, its segments stay in /dev/shm."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import sys, time
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=4096)
print(memory.name, flush=True)
time.sleep(60)
"""

if __name__ == "__main__":
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, start_new_session=True)
    name = program.stdout.readline().strip()
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    path = f"/dev/shm/{name}"
    print("the segment after everything was killed:", "left" if os.path.exists(path) else "gone")
    if os.path.exists(path):
        os.unlink(path)
