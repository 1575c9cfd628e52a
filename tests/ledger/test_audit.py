"""The audit trail: nobody changes it unnoticed, and it forgets a person without falling apart."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from canonical.refs import RecordRef
from canonical.saga import SYSTEM_ACTOR, Actor
from canonical.writes import Landed
from ledger.engine import WRITE, build
from ledger.personal import AesGcmSealer
from ledger.rows import AuditEntry
from ledger.store import Ledger
from tests.ledger.subject import ANNA, SAGA, Clock, claim, project

pytestmark = pytest.mark.anyio

BERT = Actor(name="bert@example.com", roles=("pmo",))
PROTECTED = ("audit", "audit_seal", "decision", "contract_version", "baseline", "tombstone")


async def fill(ledger: Ledger, rows: int = 6) -> None:
    for n in range(rows):
        entry = AuditEntry(
            chain="ns-emea" if n % 2 else "sf-main",
            action="written",
            actor=ANNA if n < 4 else BERT,
            content={"n": n, "amount": "1.10"},
            record=RecordRef(system="ns-emea", type="job", id=str(n)),
            personal={"e-mail": f"{n}@example.com"},
        )
        await ledger.audit(entry)


async def execute(url: str, statement: str) -> None:
    engine = build(url)
    try:
        async with engine.execution_options(**{WRITE: True}).begin() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def tamper(url: str, *statements: str) -> None:
    """What somebody with the database's password could do: switch the triggers off and write."""
    engine = build(url)
    async with engine.execution_options(**{WRITE: True}).begin() as connection:
        if engine.dialect.name == "sqlite":
            found = await connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            for (name,) in found.fetchall():
                await connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_a_vendor_write_says_which_fields_on_whose_authority(ledger: Ledger) -> None:
    write = project()
    await claim(ledger, write)
    await ledger.done(
        write.key, "a1", Landed(id="77"), created=True, personal={"contact": "Zoë"}, person="zoe"
    )
    (row,) = (await ledger.audit_rows(record=RecordRef(system="ns-emea", type="job", id="77"))).rows
    assert (row.action, row.actor, row.saga_id, row.effect_key) == ("written", ANNA, SAGA, write.key)
    assert row.content["fields"] == {"companyName": "project.name"}
    assert (row.content["phase"], row.content["body_hash"]) == ("before_approval", "h1")
    assert row.personal == {"contact": "Zoë"}
    assert "Müller" not in str(row.content)


async def test_a_whole_trail_verifies_and_seals(ledger: Ledger) -> None:
    await fill(ledger)
    assert await ledger.verify() == []
    seals = await ledger.seal(batch=2)
    assert [(seal.chain, seal.seq_from, seal.seq_to) for seal in seals] == [
        ("ns-emea", 1, 2),
        ("ns-emea", 3, 3),
        ("sf-main", 1, 2),
        ("sf-main", 3, 3),
    ]
    assert await ledger.seal() == []
    await fill(ledger, 2)
    assert len(await ledger.seal()) == 2
    assert await ledger.verify() == []
    assert await ledger.verify("ns-emea") == []


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["UPDATE audit SET content = replace(content, '1.10', '9.10') WHERE seq = 2"], "was changed"),
        (["UPDATE audit SET actor_id = 'trueup' WHERE seq = 1"], "was changed"),
        (["DELETE FROM audit WHERE seq = 2"], "rows 2 to 2 are missing"),
        (["DELETE FROM audit WHERE seq = 3"], "missing at the end"),
        (["DELETE FROM audit WHERE seq = 3", "UPDATE audit_head SET seq = 2"], "head does not match"),
        (["UPDATE audit_seal SET seal = prev_seal WHERE seq_from = 1"], "does not match the rows"),
        (["DELETE FROM audit_head"], "head is missing"),
    ],
)
async def test_tampering_is_noticed(
    ledger: Ledger, ledger_url: str, statements: list[str], words: str
) -> None:
    await fill(ledger)
    await ledger.seal(batch=2)
    assert await ledger.verify() == []
    await tamper(ledger_url, *statements)
    problems = await ledger.verify("ns-emea")
    assert any(words in problem for problem in problems), problems
    assert await ledger.verify("sf-main") != []


async def test_a_chain_written_anew_is_noticed_by_its_seals(ledger: Ledger, ledger_url: str) -> None:
    await fill(ledger)
    await ledger.seal()
    await tamper(ledger_url, "DELETE FROM audit", "DELETE FROM audit_head", "DELETE FROM audit_personal")
    await fill(ledger, 5)
    problems = await ledger.verify()
    assert any("does not match the rows" in problem for problem in problems), problems


@pytest.mark.parametrize("verb", ["UPDATE {0} SET id = id + 100", "DELETE FROM {0}"])
@pytest.mark.parametrize("table", PROTECTED)
async def test_the_database_itself_refuses_to_change_evidence(
    ledger: Ledger, ledger_url: str, table: str, verb: str
) -> None:
    await fill(ledger, 2)
    await ledger.seal()
    await ledger.decide(command_id="c", kind="gate", saga_id=SAGA, step="s", outcome="approve", actor=ANNA)
    await ledger.add_baseline("K", {"ns-emea": {}}, saga_id=SAGA, contract_version=1)
    await ledger.tombstone("s|g1|x", saga_id=SAGA, actor=ANNA)
    if table == "contract_version":
        columns = "contract_key, version, terms, digest, amount_minor, currency, saga_id, at"
        values = "'K', 1, '{}', 'd', 1, 'EUR', 's', CURRENT_TIMESTAMP"
        await execute(ledger_url, f"INSERT INTO contract_version ({columns}) VALUES ({values})")
    with pytest.raises(DBAPIError, match="append-only"):
        await execute(ledger_url, verb.format(table))


async def test_an_erased_person_is_gone_and_the_chain_still_verifies(ledger: Ledger, ledger_url: str) -> None:
    await fill(ledger)
    assert await ledger.erase_person(ANNA.name, ordered_by=BERT, reason="request 12")
    assert not await ledger.erase_person(ANNA.name, ordered_by=BERT, reason="request 12")
    assert await ledger.verify() == []
    rows = (await ledger.audit_rows()).rows
    shown = {(row.actor.name, row.personal is None) for row in rows}
    assert shown == {("(erased person)", True), (BERT.name, False), (BERT.name, True)}
    assert [row.action for row in (await ledger.audit_rows(chain="trueup")).rows] == ["person_erased"]
    # Acting again is recorded under a new key; the past stays unreadable.
    await ledger.audit(AuditEntry(chain="sf-main", action="again", actor=ANNA, personal={"x": 1}))
    rows = (await ledger.audit_rows()).rows
    assert (rows[-1].actor.name, rows[-1].personal) == (ANNA.name, {"x": 1})
    assert [row.personal for row in rows if row.action == "written"][:4] == [None] * 4
    assert await ledger.verify() == []
    engine = build(ledger_url)
    async with engine.connect() as connection:
        left = await connection.execute(text("SELECT count(*) FROM audit_personal"))
        assert left.scalar_one() == 3
    await engine.dispose()


async def test_nothing_personal_is_readable_in_the_database(ledger: Ledger, ledger_url: str) -> None:
    await fill(ledger)
    await claim(ledger, project())
    await ledger.tombstone("s|g1|x", saga_id=SAGA, actor=ANNA)
    engine = build(ledger_url)
    async with engine.connect() as connection:
        for table in ("audit", "audit_personal", "person", "effect", "tombstone"):
            for row in (await connection.execute(text(f"SELECT * FROM {table}"))).fetchall():
                assert "@example.com" not in str(row)
                assert b"@example.com" not in b"".join(v for v in row if isinstance(v, bytes))
    await engine.dispose()


async def test_changed_personal_values_are_noticed(ledger: Ledger, ledger_url: str) -> None:
    await fill(ledger)
    await tamper(ledger_url, "UPDATE audit_personal SET seq = seq + 10 WHERE chain = 'sf-main' AND seq = 1")
    await tamper(
        ledger_url,
        "UPDATE audit_personal SET sealed = (SELECT sealed FROM audit_personal WHERE seq = 11) "
        "WHERE chain = 'ns-emea' AND seq = 1",
    )
    assert await ledger.verify() == ["ns-emea #1: its personal values were changed, or need another key"]


async def test_retention_removes_personal_values_only(ledger: Ledger, clock: Clock) -> None:
    await fill(ledger, 4)
    clock.turn(1_000)
    await fill(ledger, 2)
    assert await ledger.purge_personal(clock()) == 4
    assert await ledger.verify() == []
    kept = [row.personal is not None for row in (await ledger.audit_rows()).rows]
    assert kept == [False] * 4 + [True] * 2


async def test_without_a_key_nothing_personal_is_stored(ledger_url: str) -> None:
    bare = await Ledger.open(ledger_url)
    await fill(bare, 2)
    rows = (await bare.audit_rows()).rows
    assert [row.personal for row in rows] == [None, None]
    assert rows[0].actor.name.startswith("(not recorded")
    assert rows[0].actor.roles == ANNA.roles
    await bare.audit(AuditEntry(chain="sf-main", action="x", actor=SYSTEM_ACTOR))
    assert (await bare.audit_rows()).rows[-1].actor == SYSTEM_ACTOR
    assert not await bare.erase_person(ANNA.name, ordered_by=BERT, reason="x")
    assert await bare.verify() == []
    await bare.close()


async def test_another_key_shows_no_names_and_breaks_no_list(ledger: Ledger, ledger_url: str) -> None:
    await fill(ledger, 2)
    for sealer, shown in ((AesGcmSealer(b"x" * 32), "(sealed with"), (None, "(sealed: no")):
        other = await Ledger.open(ledger_url, sealer=sealer)
        rows = (await other.audit_rows()).rows
        assert all(row.actor.name.startswith(shown) and row.personal is None for row in rows)
        await other.close()
