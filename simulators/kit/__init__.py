"""What every simulator shares: record store, write log, fault engine, control API, TLS, serving."""

from simulators.kit.app import Answer, Call, Simulator, VendorError
from simulators.kit.clock import Clock
from simulators.kit.faults import Fault, FaultKind, Faults
from simulators.kit.serve import Running, serve
from simulators.kit.store import Record, Store, Write

__all__ = [
    "Answer",
    "Call",
    "Clock",
    "Fault",
    "FaultKind",
    "Faults",
    "Record",
    "Running",
    "Simulator",
    "Store",
    "VendorError",
    "Write",
    "serve",
]
