"""Commands that make no sense are refused before anything is touched, with what to type instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.saga import SagaStatus
from cli.output import Exit
from cli.scan import harmless
from tests.cli.conftest import Cli, begin


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "time-to-billing", "x"), "time-to-billing takes no ID."),
        (("start", "opportunity-to-project", "a:b"), "'a:b' is no deal id"),
        (
            ("start", "opportunity-to-project", "a", "--system", "nope"),
            "not a configured CRM; configured: sf-main",
        ),
        (("start", "opportunity-to-project", "a", "b", "--plan"), "one deal at a time"),
        (("resolve", "006A"), "one of --retry, --amend FILE"),
        (("resolve", "006A", "--retry", "--undo-all"), "one of --retry, --amend FILE"),
        (("resolve", "--retry"), "Name a saga, or --cause CODE"),
        (("resolve", "006A", "--cause", "DEFECT", "--retry"), "Name a saga, or --cause CODE"),
        (("resolve", "006A", "--skip"), "--skip needs --reason"),
        (("resolve", "006A", "--undo-all"), "--undo-all needs --reason"),
        (("resolve", "--cause", "DEFECT", "--skip", "--reason", "x"), "fit one step: name the saga"),
        (("approvals", "reject", "006A"), "reject needs --reason"),
        (("approvals", "send-back", "006A"), "send-back needs --reason"),
        (("cancel", "006A", "--terminate"), "--i-know-this-skips-compensation"),
        (("deals",), "trueup deals --without-project"),
        (("adopt",), "Give a FILE to review, or --scan SYSTEM"),
        (("adopt", "--scan", "sf-main"), "not a configured ERP"),
        (("adopt", "--scan", "x", "--apply"), "--scan only proposes"),
    ],
)
def test_refused_with_what_to_do(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    answer = cli(*arguments)
    assert answer.code == Exit.USAGE
    assert answer.out == ""
    assert words in answer.err


def test_an_amendment_must_be_one_json_object(cli: Cli, tmp_path: Path) -> None:
    for text, words in (("{", "is no JSON"), ("[]", "must hold one JSON object")):
        file = tmp_path / "patch.json"
        file.write_text(text)
        answer = cli("resolve", "006A", "--amend", str(file))
        assert answer.code == Exit.USAGE
        assert words in answer.err


def test_a_missing_file_is_named(cli: Cli) -> None:
    answer = cli("resolve", "006A", "--amend", "/nowhere/patch.json")
    assert answer.code == Exit.USAGE
    assert answer.err == "/nowhere/patch.json: No such file or directory.\n"


def test_what_has_ended_cannot_be_cancelled(cli: Cli) -> None:
    cli.write(lambda ledger: begin(ledger, "006D", SagaStatus.COMPLETE, codes={"k": "PRJ-9"}))
    answer = cli("cancel", "006D")
    assert answer.code == Exit.FAILED
    assert "project code PRJ-9. There is nothing to cancel." in answer.err


def test_proposals_are_no_formulas() -> None:
    assert harmless("=cmd()") == "'=cmd()"
    assert harmless("Müller") == "Müller"
