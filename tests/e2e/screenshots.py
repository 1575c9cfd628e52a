"""Pictures of Temporal's Web UI with a few sagas: ``python -m tests.e2e.screenshots [DIR]``.

Starts a local firm, completes one deal, parks one, leaves one at its gate, leaves an invoice at its review,
catches a posting under way, and takes what an operator sees with headless Chromium. The pictures in
``docs/images`` are made by this.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from playwright.async_api import BrowserContext, Error, Page, ViewportSize, async_playwright

from canonical.saga import SagaStatus
from cli.local import deals
from runtime.lifecycle import exit_now
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import CARLA, ERP, PSA, Run
from tests.e2e.firm import Firm, Handle, local_firm
from wiring.start_billing import start_run

IMAGES = Path("docs/images")
TALL: ViewportSize = {"width": 1600, "height": 1120}
TALLER: ViewportSize = {"width": 1600, "height": 1300}
SIZE: ViewportSize = {"width": 1800, "height": 640}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
]
COLUMNS = [
    {"label": "Status"},
    {"label": "Workflow ID"},
    *(
        {"label": name}
        for name in ("SagaStatus", "SagaStep", "CauseCode", "ExceptionQueue", "BusinessKey", "ProjectCode")
    ),
]
"""Columns of the workflow list; a person chooses them in the UI, which keeps them in the browser."""


async def prepare(firm: Firm) -> dict[str, Handle]:
    """One saga in each state that is worth a picture."""
    for deal in deals.DEMO_DEALS:
        firm.seed(deal)
    handles = {
        "complete": await firm.start(deals.NORTHWIND),
        "gated": await firm.start(deals.ATLAS),
        "parked": await firm.start(deals.HARBOUR),
        "quarry": await firm.start(deals.QUARRY),
    }
    await firm.until(handles["complete"], SagaStatus.COMPLETE)
    await firm.until(handles["gated"], SagaStatus.GATED)
    await firm.until(handles["parked"], SagaStatus.PARKED)
    await firm.until(handles["quarry"], SagaStatus.COMPLETE)
    for name in ("complete", "quarry"):
        await firm.end(handles[name])
    return handles


async def under_review(month: Month) -> Run:
    """A month of one client whose draft invoice waits for its reviewer."""
    project = await month.contract()
    month.time(project, *range(2, 7), *range(9, 14))
    await month.start()
    group = await month.group_of(project)
    await month.until(group, SagaStatus.GATED)
    return group


async def under_way(month: Month) -> Run:
    """A posting of many lines, some of which are held, while it goes on: NetSuite takes its time."""
    project = await month.contract()
    days = range(2, 28)
    month.time(project, *(day for day in days for _ in range(60)), minutes=6)
    month.time(project, *days, role=None, user=CARLA)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 3})
    start = month.starts.posting(PSA, ERP, "2026-11-30T060500", reason="month end")
    pace = start.pace.model_copy(update={"piece_lines": 300})
    return await start_run(month.firm.client, start.model_copy(update={"pace": pace}))


async def shoot(page: Page, url: str, file: Path, *, wait_for: str, scroll_to: str = "") -> None:
    """A picture of a page once ``wait_for`` is to be seen."""
    for _ in range(12):
        await page.goto(url)
        with suppress(Error):
            # Loaded again and again: a page does not follow what changes on the server.
            await page.get_by_text(wait_for).locator("visible=true").first.wait_for(timeout=12_000)
            break
    else:
        await page.screenshot(path=file)
        raise SystemExit(f"{url} never showed {wait_for!r}; {file} is what it showed.")
    if scroll_to:
        await page.get_by_text(scroll_to).locator("visible=true").last.scroll_into_view_if_needed()
    # The details come in a frame of their own, a moment after the page.
    await page.wait_for_timeout(1500)
    await page.screenshot(path=file)
    print(file, flush=True)


async def take(firm: Firm, handles: dict[str, Handle], folder: Path) -> None:
    """All pictures."""
    month = Month(firm)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("There is no Chromium on the path; install it (apt-get install chromium).")
    base = firm.stack.server.ui_url
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = await browser.new_context(viewport=SIZE)
        await _columns(context)
        page = await context.new_page()
        listing = f"{base}/namespaces/default/workflows"
        await shoot(page, listing, folder / "workflow-list.png", wait_for="gate.credit")
        query = quote("ExceptionQueue = 'master-data'")
        await shoot(page, f"{listing}?query={query}", folder / "one-queue.png", wait_for="TAX_REGISTRATION")
        for name in ("parked", "gated", "complete"):
            handle = handles[name]
            where = f"{listing}/{quote(handle.id, safe='')}/{handle.first_execution_run_id}"
            details = f"{where}/user-metadata"
            await page.set_viewport_size(TALL)
            await shoot(page, details, folder / f"{name}-details.png", wait_for="Current Details")
        await page.set_viewport_size(TALLER)
        await shoot(
            page,
            f"{where}/timeline",
            folder / "complete-timeline.png",
            wait_for="Tell the PMO",
            scroll_to="close the saga's row",
        )
        await page.set_viewport_size(TALL)
        for name, make, shown in (
            ("invoice-review", under_review, "Current Details"),
            ("posting-details", under_way, "calls in flight"),
        ):
            run = await make(month)
            where = f"{listing}/{quote(run.id, safe='')}/{(await run.describe()).run_id}"
            await shoot(page, f"{where}/user-metadata", folder / f"{name}.png", wait_for=shown)
        await browser.close()


async def _columns(context: BrowserContext) -> None:
    """The list's columns, where the UI keeps them."""
    kept = json.dumps({"default": COLUMNS})
    script = f"window.localStorage.setItem('namespace-workflow-table-columns', JSON.stringify({kept}));"
    script += "window.localStorage.setItem('navOpen', 'false');"
    await context.add_init_script(script)


async def main(folder: Path) -> None:
    """Start the firm, take the pictures."""
    with tempfile.TemporaryDirectory() as place:
        async with local_firm(Path(place), ui=True, mail=True) as firm:
            await take(firm, await prepare(firm), folder)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
    exit_now(0)
