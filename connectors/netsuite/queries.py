"""SuiteQL texts. Pure. Every value is a literal escaped here; every query is ordered."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from canonical.names import effect_key, stamp
from canonical.parties import Client
from connectors.netsuite.settings import NetSuiteMapping

GENERATIONS = 9
"""External ids of this many generations of one client are looked for: each is an undone predecessor."""
_FORMS = """
the and und der die das von ag bv company corp corporation gmbh group holding inc international limited
llc llp ltd plc pty sarl sas spa srl
"""
LEGAL_FORMS = frozenset(_FORMS.split())
"""Words that half of all companies share: useless for finding one."""


def literal(value: str) -> str:
    """A text literal: quotes doubled, control characters (which no name or id has) left out."""
    plain = "".join(c for c in value if unicodedata.category(c) != "Cc")
    return "'" + plain.replace("'", "''") + "'"


def listing(values: Iterable[str]) -> str:
    """A list of literals for IN."""
    return "(" + ", ".join(literal(value) for value in values) + ")"


def ids(values: Iterable[str]) -> str:
    """A list of internal ids for IN; anything but digits (and a leading minus) is left out."""
    return "(" + ", ".join(v for v in values if re.fullmatch(r"-?\d+", v)) + ")"


def significant_word(name: str) -> str | None:
    """The first word that tells companies apart, in capitals; None when there is none.

    The word ends where capitals change its length (ß): the database's UPPER leaves such letters alone.
    """
    for word in re.findall(r"[^\W_]+", name):
        stable = re.split(r"[^\w]|ß|ŉ|ǰ|ﬁ|ﬂ", word)[0]
        if len(stable) >= 3 and stable.lower() not in LEGAL_FORMS:
            return stable.upper()
    return None


def external_ids(system: str, key: str) -> list[str]:
    """External ids that our own creates of this client carry, by generation."""
    return [
        stamp(effect_key(system, "ensure_client", key, generation))
        for generation in range(1, GENERATIONS + 1)
    ]


def tax_variants(numbers: Iterable[str]) -> list[str]:
    """Ways in which people write the same tax number: as it is, bare, without the country's letters."""
    found: dict[str, None] = {}
    for number in numbers:
        bare = re.sub(r"[^0-9A-Za-z]", "", number).upper()
        for variant in (number.strip(), bare, re.sub(r"^[A-Z]{2}(?=\d)", "", bare)):
            if len(variant) >= 4:
                found[variant] = None
    return list(found)


def clients(mapping: NetSuiteMapping, system: str, client: Client) -> str:
    """One query for every way of finding a client, inactive customers included."""
    tax = mapping.tax_field.lower()
    ways = [f"externalid IN {listing(external_ids(system, client.key))}"]
    known_id = client.erp_ids.get(system, "")
    if re.fullmatch(r"\d+", known_id):
        ways.append(f"id = {known_id}")
    numbers = tax_variants(r.number for r in client.tax_registrations)
    if numbers:
        ways.append(f"{tax} IN {listing(numbers)}")
    word = significant_word(client.name)
    if word is not None:
        ways.append(f"UPPER(companyname) LIKE {literal('%' + word + '%')}")
    else:
        ways.append(f"companyname = {literal(client.name)}")
    return f"{_customers(tax)} WHERE {' OR '.join(ways)} ORDER BY id"


def client_by_id(mapping: NetSuiteMapping, client_id: str) -> str:
    """One customer."""
    return f"{_customers(mapping.tax_field.lower())} WHERE id = {int(client_id)} ORDER BY id"


def _customers(tax: str) -> str:
    return (
        "SELECT id, entityid, companyname, externalid, parent, isinactive, subsidiary, currency, "
        f"{tax}, lastmodifieddate FROM customer"
    )


def relationships(customers: Sequence[str]) -> str:
    """Under which subsidiaries customers stand, beside their primary one."""
    return (
        "SELECT id, entity, subsidiary FROM customersubsidiaryrelationship "
        f"WHERE entity IN {ids(customers)} ORDER BY id"
    )


SUBSIDIARIES = "SELECT id, name, currency, isinactive FROM subsidiary ORDER BY id"
CURRENCIES = "SELECT id, symbol, isinactive FROM currency ORDER BY id"
TERMS = "SELECT id, name, isinactive FROM term ORDER BY id"
# Plain date columns come in the account's own format.
PERIODS = (
    "SELECT id, periodname, TO_CHAR(startdate, 'YYYY-MM-DD') AS startdate, "
    "TO_CHAR(enddate, 'YYYY-MM-DD') AS enddate, closed, arlocked, alllocked, isyear, isquarter "
    "FROM accountingperiod ORDER BY id"
)


def service_items(wanted: Sequence[str]) -> str:
    """Which of the wanted items exist."""
    return f"SELECT id, itemid, isinactive FROM item WHERE id IN {ids(wanted)} ORDER BY id"


def by_external_id(record_type: str, external: Sequence[str]) -> str:
    """Which of our bulk lines landed."""
    return (
        f"SELECT id, externalid FROM {record_type.lower()} "
        f"WHERE externalid IN {listing(external)} ORDER BY id"
    )


def transactions_since(types: Sequence[str], at: str, after_id: int | None) -> str:
    """Changed transactions after a keyset position.

    Args:
        types: SuiteQL transaction types, for example ``CustInvc``.
        at: ``YYYY-MM-DD HH:MM:SS`` in the account's zone.
        after_id: last id already seen at exactly that second; None to include all of it.
    """
    moment = f"TO_TIMESTAMP({literal(at)}, 'YYYY-MM-DD HH24:MI:SS')"
    since = (
        f"t.lastmodifieddate >= {moment}"
        if after_id is None
        else f"(t.lastmodifieddate > {moment} OR (t.lastmodifieddate = {moment} AND t.id > {after_id}))"
    )
    return (
        "SELECT t.id, t.tranid, t.type, t.entity, t.status, t.foreigntotal, t.foreignamountunpaid, "
        "TO_CHAR(t.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS modified FROM transaction t "
        f"WHERE t.type IN {listing(types)} AND {since} ORDER BY t.lastmodifieddate, t.id"
    )
