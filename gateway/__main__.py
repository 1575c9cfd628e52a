"""``python -m gateway``: what ``trueup gateway`` runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.serve import serve
from runtime.process import serve_and_exit


def main(arguments: list[str] | None = None) -> None:
    """Serve; never returns."""
    parser = argparse.ArgumentParser(prog="trueup gateway", description="Serve webhooks and the process API.")
    parser.add_argument("--config", type=Path, help="trueup.toml (default: TRUEUP_CONFIG or ./trueup.toml)")
    parser.add_argument("--json", action="store_true", help="print one JSON object once it serves")
    given = parser.parse_args(arguments)
    serve_and_exit(given.config, lambda settings: serve(settings, as_json=given.json))


if __name__ == "__main__":
    main()
