"""``python -m tests.docs.write``: bring the generated tables of the documentation up to date."""

from __future__ import annotations

import sys

from tests.docs.tables import ROOT, pages, render


def main() -> int:
    """Write every page that differs."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = render(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
