"""A debugger that is driven through pipes: requests as JSON lines on stdin, answers as JSON lines on stdout.

A request is one of
    {"id": N, "command": "LINE"}                runs it in the current debugger
    {"id": N, "command": "LINE", "debugger": 1} or in another one that `python` made
    {"id": N, "python": "STATEMENTS"}           its answer is the variable `answer`; `lldb`, `debuggers`, `debugger`,
                                                `target` and `process` are there
Either may have "aside": true: then it is run at once, beside the command that is running, on the thread that reads
requests. What the debugger itself prints goes to the file named in the first argument.
"""

import json
import os
import queue
import sys
import threading
import time

answers = os.fdopen(os.dup(1), "w", buffering=1)
requests = os.fdopen(os.dup(0), "r")
screen = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.dup2(screen, 1)
os.dup2(screen, 2)
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)

import lldb

debuggers = []
lock = threading.Lock()


def new_debugger():
    debugger = lldb.SBDebugger.Create(False)
    # A command that makes the process run is done when the process stops.
    debugger.SetAsync(False)
    debuggers.append(debugger)
    for line in ("auto-confirm true", "interpreter.prompt-on-quit false", "symbols.enable-external-lookup false"):
        debugger.HandleCommand("settings set " + line)
    return debugger


def command(line, debugger):
    result = lldb.SBCommandReturnObject()
    start = time.monotonic()
    debugger.GetCommandInterpreter().HandleCommand(line, result)
    return {
        "ok": result.Succeeded(),
        "output": result.GetOutput() or "",
        "error": result.GetError() or "",
        "seconds": time.monotonic() - start,
    }


def python(statements):
    debugger = debuggers[0] if debuggers else None
    target = debugger.GetSelectedTarget() if debugger else None
    names = {
        "lldb": lldb,
        "debuggers": debuggers,
        "debugger": debugger,
        "target": target,
        "process": target.GetProcess() if target else None,
        "new_debugger": new_debugger,
        "answer": None,
    }
    exec(statements, names)
    return {"answer": names["answer"]}


def answer(request):
    try:
        if "command" in request:
            result = command(request["command"], debuggers[request.get("debugger", 0)])
        else:
            result = python(request["python"])
    except Exception as error:
        result = {"exception": repr(error)}
    with lock:
        print(json.dumps({"id": request["id"], **result}), file=answers)


def serve(pending):
    while True:
        request = pending.get()
        if request is None:
            return
        answer(request)


def read_requests(pending):
    for line in requests:
        request = json.loads(line)
        if request.get("aside"):
            answer(request)
        else:
            pending.put(request)
    pending.put(None)


new_debugger()
pending = queue.Queue()
threading.Thread(target=read_requests, args=(pending,), daemon=True).start()
serve(pending)
while debuggers:
    lldb.SBDebugger.Destroy(debuggers.pop())
lldb.SBDebugger.Terminate()
