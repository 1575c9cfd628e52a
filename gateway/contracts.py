"""``python -m gateway.contracts``: write the checked-in descriptions anew from the code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.app import describe_app
from gateway.asyncapi import asyncapi

FOLDER = Path(__file__).resolve().parents[1] / "docs"


def files() -> dict[Path, str]:
    """Each file with the content that the code gives it."""
    return {
        FOLDER / "openapi.json": _text(describe_app().openapi()),
        FOLDER / "asyncapi.json": _text(asyncapi()),
    }


def _text(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write every file that differs."""
    for path, text in files().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
