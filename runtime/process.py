"""How a serving process begins and ends: settings, logs, exit codes, and words instead of a stack trace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

from canonical.failures import ConfigurationError, SystemFailure
from runtime.lifecycle import exit_now
from runtime.logging import configure
from runtime.settings import Settings, load

USAGE = 2
"""Exit code of a wrong configuration or command line."""


def serve_and_exit(config: Path | None, serve: Callable[[Settings], Coroutine[Any, Any, None]]) -> NoReturn:
    """Serve until told to stop.

    Args:
        config: the configuration file; the usual one when None.
        serve: what the process is there for.
    """
    try:
        settings = load(config)
        configure(settings.logging)
        asyncio.run(serve(settings))
    except ConfigurationError as wrong:
        for problem in wrong.problems:
            print(problem, file=sys.stderr)
        exit_now(USAGE)
    except SystemFailure as failure:
        print(f"{failure} {failure.failure.remedy or ''}".strip(), file=sys.stderr)
        exit_now(1)
    exit_now(0)
