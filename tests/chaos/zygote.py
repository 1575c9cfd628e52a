"""Makes worker processes quickly: imports everything once and forks; a killed worker costs no imports.

Run as ``python -m tests.chaos.zygote``. One JSON object a line on standard input
(``{"config", "queues", "ready", "log", "patches"}``), one process id a line on standard output.

``patches`` are called in the child before it serves, each with the command: a planted bug, a clock that is
wrong. They change the process's memory, never a file, and nothing of the product knows of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

import worker


def become(command: dict[str, Any]) -> None:
    """Turn the forked child into a worker; never returns."""
    if sys.platform == "linux":
        # No worker outlives its test run, however that ends: PR_SET_PDEATHSIG.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.environ["TRUEUP__WORKER__READY_FILE"] = command["ready"]
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for patch in command["patches"]:
        module, _, function = patch.partition(":")
        getattr(import_module(module), function)(command)
    worker.main(["--config", command["config"], "--queues", command["queues"]])


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    main()
