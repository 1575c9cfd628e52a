"""A worker process under measurement: started, and waited for until it takes work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.local.config import SECRETS
from cli.local.stack import ROOT

READY = 180.0
"""Seconds for a worker process to import everything and poll; others may use the machine too."""


@dataclass(frozen=True)
class Launched:
    """A worker process that was started."""

    process: subprocess.Popen[bytes]
    ready: Path
    """The file that says that it takes work."""
    log: Path

    async def serving(self) -> None:
        """Return once it takes work.

        Raises:
            RuntimeError: it did not come up; with the end of its log.
        """
        give_up = time.monotonic() + READY
        while not self.ready.exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the worker did not start: {self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.02)


def launch(command: Sequence[str], folder: Path, number: int) -> Launched:
    """Start a worker process.

    Args:
        command: the interpreter, its module and options.
        folder: for its log and its ready file.
        number: names both.
    """
    ready, log = folder / f"worker-{number}.ready", folder / f"worker-{number}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **SECRETS, "TRUEUP__WORKER__READY_FILE": str(ready)},
        )
    return Launched(process, ready, log)
