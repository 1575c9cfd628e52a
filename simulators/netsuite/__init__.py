"""A strict, stateful simulator of Oracle NetSuite (SuiteTalk REST and SuiteQL)."""

from simulators.netsuite.app import NetSuite, build

__all__ = ["NetSuite", "build"]
