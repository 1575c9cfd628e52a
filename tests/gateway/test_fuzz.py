"""Every operation of the OpenAPI description with generated requests, in its short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.fuzz import fuzz

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_no_server_error_and_nothing_that_is_not_described(tmp_path: Path) -> None:
    found = fuzz(tmp_path, examples=15)
    assert found.failures == [], "\n".join(found.failures)
    assert not [status for status in found.statuses if status >= 500]
    assert len(found.operations) == 14
    assert found.cases > 100
