"""``python -m tests.bench.record``: count the vendor calls of one deal and keep the numbers.

More calls than before need a reason: say it in the commit.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from bench.firm import bench_firm
from runtime.lifecycle import exit_now
from tests.bench.counting import TABLE, dump, one_deal


async def record() -> None:
    """Run one deal and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench_firm(Path(folder)) as firm:
            found = await one_deal(firm)
    TABLE.write_text(dump(found))
    print(dump(found))
    print(sum(row["reads"] + row["writes"] for row in found.values()), "vendor calls", flush=True)


if __name__ == "__main__":
    asyncio.run(record())
    exit_now(0)
