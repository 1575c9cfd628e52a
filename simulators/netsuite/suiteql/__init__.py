"""SuiteQL: a small real parser and evaluator over the account's records."""

from simulators.netsuite.suiteql.service import PATH, QueryService

__all__ = ["PATH", "QueryService"]
