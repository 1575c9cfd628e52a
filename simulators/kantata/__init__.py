"""Kantata OX (formerly Mavenlink), API v1.

Credentials accepted by default: ``Authorization: Bearer kantata-token`` (setting ``tokens``). The README
beside this file lists what is simulated, the assumptions, settings and control calls.
"""

from simulators.kantata.app import Kantata
from simulators.kit import Simulator

__all__ = ["Kantata", "build"]


def build() -> Simulator:
    """A new, empty account."""
    return Kantata()
