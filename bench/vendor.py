"""One simulated vendor in a process of its own, as real vendors are: ``python -m bench.vendor netsuite``.

What a vendor computes then costs the worker under measurement nothing but its share of the machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cli.local.stack import ROOT
from simulators import kantata, netsuite, salesforce
from simulators.kit import serve

BUILDERS = {"salesforce": salesforce.build, "netsuite": netsuite.build, "kantata": kantata.build}
READY = 180.0
"""Seconds until a vendor must serve; others may use the machine too."""


@dataclass
class Vendor:
    """A running vendor process."""

    name: str
    base_url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def launch(name: str, folder: Path) -> Vendor:
    """Start a vendor and wait until it serves.

    Args:
        name: one of ``BUILDERS``.
        folder: for its log and its address.

    Raises:
        RuntimeError: it did not come up; with the end of its log.
    """
    ready, log = folder / f"{name}.url", folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.vendor", name, "--ready", str(ready)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    give_up = time.monotonic() + READY
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > give_up:
            process.kill()
            raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)
    return Vendor(name, ready.read_text(), process)


def main() -> None:
    """Serve one vendor until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.vendor", description=__doc__)
    parser.add_argument("name", choices=sorted(BUILDERS))
    parser.add_argument(
        "--ready", type=Path, required=True, help="its address is written there once it serves"
    )
    given = parser.parse_args()
    running = serve(BUILDERS[given.name]())
    draft = given.ready.with_suffix(".tmp")
    draft.write_text(running.base_url)
    draft.rename(given.ready)
    threading.Event().wait()


if __name__ == "__main__":
    main()
