"""Logs for people and machines: structlog over the standard library, secrets never, failures in one line.

Both our own events and those of libraries (the Temporal SDK above all) pass the same processors, so
that one place masks secrets and bounds the length of a line.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import IO, Any

import structlog
from pydantic import BaseModel, SecretBytes, SecretStr
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

from runtime.sections import LogFormat, LoggingSection

MASK = "***"
TEXT_LIMIT = 2_000
"""Characters of one text in a log line; a failed Temporal task carries kilobytes of stack traces."""
TRACE_LINES = 12
"""Lines of a stack trace that are kept, the innermost; the whole one is in the workflow's history."""

_SECRET_KEY = re.compile(
    r"authorization|cookie|passw|passphrase|secret|token|credential|assertion|signature"
    r"|api[-_]?key|private[-_]?key|access[-_]?key|session[-_]?id",
    re.IGNORECASE,
)
_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    # A header as vendors' errors and HTTP libraries repeat it; OAuth 1.0 has commas up to the line's end.
    (re.compile(r"\b(OAuth)\s+realm=[^\r\n]+"), rf"\1 {MASK}"),
    (re.compile(r"\b(Bearer|Basic|OAuth|Token)\s+[A-Za-z0-9!._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # A JSON Web Token wherever it stands.
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), MASK),
    # The password of a URL.
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), rf"\1{MASK}@"),
    # key=value, "key": "value" and form bodies.
    (
        re.compile(
            # Begins at the telling word, not where the name does: that would take quadratic time.
            r"""((?:passw(?:or)?d|secret|token|api[-_]?key|assertion|signature)["']?\s{0,4}[=:]\s{0,4})"""
            r"""(?:"[^"]*"?|'[^']*'?|[^\s"'&,;})\]]+)""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
        MASK,
    ),
)
Event = MutableMapping[str, Any]


def redact(value: Any) -> Any:
    """``value`` without secrets: by the name of a key, by type, and by what a text looks like."""
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, BaseModel):
        return redact({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        return {
            key: MASK if _SECRET_KEY.search(str(key)) and item is not None else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, bytes):
        return redact_text(value.decode(errors="replace"))
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    return value


def redact_text(text: str) -> str:
    """``text`` without what looks like a credential."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _business_failure(_: Any, __: str, event: Event) -> Event:
    """A failure raised on purpose is one sentence; its stack trace only says that it was raised."""
    info = event.get("exc_info")
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, ApplicationError):
        del event["exc_info"]
        event["failure"] = error.message
        event["failure_type"] = error.type
    return event


def _mask_secrets(_: Any, __: str, event: Event) -> Event:
    masked: Event = redact(event)
    return masked


def _bound_length(_: Any, __: str, event: Event) -> Event:
    return {key: _shortened(key, value) for key, value in event.items()}


def _shortened(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    lines = value.splitlines() if key == "exception" else []
    if len(lines) > TRACE_LINES:
        value = "\n".join([f"... {len(lines) - TRACE_LINES} lines", *lines[-TRACE_LINES:]])
    if len(value) > TEXT_LIMIT:
        return f"{value[:TEXT_LIMIT]}... ({len(value)} characters)"
    return value


def _temporal_context(_: Any, __: str, event: Event) -> Event:
    """The SDK's own context (workflow id, attempt, ...) as fields under our names."""
    context = event.pop("temporal_workflow", None) or event.pop("temporal_activity", None)
    event.pop("__temporal_error_identifier", None)
    if isinstance(context, Mapping):
        for theirs, ours in _CONTEXT_NAMES.items():
            if theirs in context:
                event.setdefault(ours, context[theirs])
    return event


_CONTEXT_NAMES = {
    "workflow_id": "saga_id",
    "run_id": "run_id",
    "activity_type": "activity",
    "attempt": "attempt",
    "task_queue": "task_queue",
}


_installed: list[logging.Handler] = []
"""What ``configure`` added to the root logger, to be replaced by the next call."""


def configure(section: LoggingSection, stream: IO[str] | None = None) -> None:
    """Set up logging for this process; calling it again replaces what was set up before.

    Args:
        section: ``[logging]``.
        stream: where to write instead of standard error, when no file is configured.
    """
    handler: logging.Handler
    if section.file is not None:
        section.file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(section.file, encoding="utf-8")
        terminal = False
    else:
        target = stream or sys.stderr
        handler = logging.StreamHandler(target)
        terminal = target.isatty()
    for_people = section.format is LogFormat.CONSOLE or (section.format is LogFormat.AUTO and terminal)
    shared = _processors()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    while _installed:
        old = _installed.pop()
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    _installed.append(handler)
    root.setLevel(section.level)
    _quieten_libraries(section)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _business_failure,
        structlog.processors.format_exc_info,
        _temporal_context,
        _mask_secrets,
        _bound_length,
    ]


def _quieten_libraries(section: LoggingSection) -> None:
    logging.getLogger("temporalio").setLevel(section.sdk_level)
    # What our workflows and activities log goes through these two.
    for name in ("temporalio.workflow", "temporalio.activity"):
        logging.getLogger(name).setLevel(section.level)
    # The whole context of every task, appended to every message as text, is in our fields already.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    # They log every request at INFO, with its URL.
    for name in ("httpx", "httpcore", "asyncio", "aiosqlite", "sqlalchemy.engine", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(section.level)))


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry the bound correlation fields."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


@contextmanager
def correlated(**fields: str | None) -> Iterator[None]:
    """Inside, every event of this task carries the fields, e.g. ``saga_id``, ``step``, ``trace_id``."""
    with structlog.contextvars.bound_contextvars(**{k: v for k, v in fields.items() if v is not None}):
        yield
