"""Processor time that a process has used, read from ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
AFTER_COMMAND = 11
"""Place of ``utime`` among the fields of ``/proc/PID/stat`` behind the command's name; then ``stime``."""


def used(pid: int) -> float:
    """Seconds of user and system time of a process with all its threads, since it started.

    Raises:
        OSError: there is no such process, or no ``/proc``: the measurement needs Linux.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[AFTER_COMMAND]) + int(fields[AFTER_COMMAND + 1])) / TICK


def machine() -> float:
    """Seconds of user and system time of all processes on all cores, since the machine started.

    Raises:
        OSError: there is no ``/proc``.
    """
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / TICK
