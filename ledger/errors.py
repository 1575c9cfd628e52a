"""Driver errors to our own failures, so that nothing above the ledger sees a driver.

Retry is right for a database that cannot be reached or is busy. Everything else is our defect: a
retry would only repeat it.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    InternalError,
    InvalidRequestError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from canonical.causes import Cause
from canonical.failures import Defect, SystemFailure, Transient

_RETRYABLE_SQLSTATES = ("08", "25006", "40", "53", "55P03", "57")
"""PostgreSQL (appendix A): connection, read-only (a standby after a fail-over), rollback and deadlock,
resources, lock not available, operator intervention and statement timeout."""

_DEFECT_SQLITE = ("no such table", "no such column", "syntax error", "has no column")
"""sqlite3 reports a wrong statement and a busy database as the same class; only the text differs."""

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError)
"""What may come out of a session. asyncpg lets plain OSErrors of the socket through."""


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")


def _passes_by_itself(error: BaseException) -> bool:
    if isinstance(error, (OSError, TimeoutError, PoolTimeout, DisconnectionError)):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or _sqlstate(error).startswith(_RETRYABLE_SQLSTATES):
            return True
        if isinstance(error, InterfaceError):
            return True
        if isinstance(error, OperationalError):
            return not any(text in str(error.orig) for text in _DEFECT_SQLITE)
        return isinstance(error, InternalError) and "closed" in str(error.orig)
    # A connection that died inside a transaction is reported like this on the next statement.
    return isinstance(error, InvalidRequestError) and "invalid transaction" in str(error)


def translate(error: BaseException) -> SystemFailure:
    """The failure that stands for a driver's error. Never carries parameters: they may be personal.

    Returns:
        ``Transient`` with cause ``LEDGER_UNAVAILABLE``, or ``Defect``.
    """
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = " ".join(str(origin).split())[:300]
    if _passes_by_itself(error):
        return Transient(
            f"the ledger's database is not available: {type(origin).__name__}: {words}",
            cause=Cause.LEDGER_UNAVAILABLE,
            system="ledger",
            remedy="check the database; nothing needs to be repeated by hand",
        )
    return Defect(
        f"the ledger's database refused a statement: {type(origin).__name__}: {words}", system="ledger"
    )
