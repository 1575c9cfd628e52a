"""Many deals judged at once: each deal's own must be there per deal, what deals share exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.local.deals import Deal, Json, Seed, salesforce_id
from tests.chaos.deals import words
from tests.chaos.nodes import Node, graph
from tests.chaos.oracle import Oracle, judge_the_rest
from tests.chaos.vendors import Change, Row
from tests.chaos.verdict import Verdict, compare

CUSTOMER, RELATIONSHIP = "customer", "customerSubsidiaryRelationship"
AFTER_APPROVAL = ("revenueArrangement", "revenuePlan")
"""What the ERP makes by itself once a contract is approved."""


@dataclass(frozen=True)
class Family:
    """New clients under shared parents, each with several deals: what sagas that run at once fight over."""

    deals: tuple[Deal, ...]
    accounts: tuple[Json, ...]
    """Parents first, then clients."""

    def seed(self) -> Seed:
        """Everything that Salesforce must hold."""
        seeds = [deal.seed() for deal in self.deals]
        return {
            "Account": list(self.accounts),
            "Opportunity": [row for seed in seeds for row in seed["Opportunity"]],
            "OpportunityLineItem": [row for seed in seeds for row in seed["OpportunityLineItem"]],
        }

    def of(self, client: int) -> tuple[Deal, ...]:
        """The deals of one client, by its place."""
        numbers = list(dict.fromkeys(deal.account_number for deal in self.deals))
        return tuple(deal for deal in self.deals if deal.account_number == numbers[client])


def family(patterns: Sequence[Deal], first: int, *, parents: int, clients: int, deals: int) -> Family:
    """A family of fresh deals: the deals of one client follow the patterns in turn.

    Args:
        patterns: what is sold; clients, ids and names are replaced.
        first: the first of as many free numbers as there are deals.
        parents: account hierarchies; clients are spread over them in order.
        clients: clients in all.
        deals: deals in all, the same number for every client or nearly.
    """
    made: list[Deal] = []
    numbers = [first + place for place in range(clients)]
    for place in range(deals):
        turn, client = divmod(place, clients)
        pattern = patterns[turn % len(patterns)]
        owner = numbers[client]
        made.append(
            Deal(
                first + place,
                f"{words(first + place, 'deal')} {pattern.name} {first + place}",
                f"{words(owner, 'client')} Holding",
                pattern.lines,
                tax_number=f"NL{810_000_000 + owner * 7919}B01",
                entity=pattern.entity,
                currency=pattern.currency,
                account_number=owner,
            )
        )
    above = [numbers[0] + place for place in range(parents)]
    rows: list[Json] = [
        {
            "Id": salesforce_id("001", 9000 + number),
            "Name": f"{words(number, 'parent')} Group",
            "BillingCountry": "Netherlands",
        }
        for number in above
    ]
    for place, number in enumerate(numbers):
        deal = next(one for one in made if one.account_number == number)
        # As a deal of its own the client's first deal would bring the account along.
        (account,) = _with_account(deal).seed()["Account"]
        rows.append({**account, "ParentId": rows[place * parents // clients]["Id"]})
    return Family(tuple(made), tuple(rows))


def _with_account(deal: Deal) -> Deal:
    return Deal(
        deal.account_number or deal.number,
        deal.name,
        deal.account,
        deal.lines,
        tax_number=deal.tax_number,
    )


class Portfolio:
    """Judges what the vendors hold of several deals."""

    def __init__(self, oracles: Sequence[Oracle]) -> None:
        self.oracles = oracles

    # --- judging ------------------------------------------------------------------------------------

    def judge_complete(self, seen: Change) -> Verdict:
        """Every deal active, everything exactly once, codes in every deal."""
        found = graph(seen)
        verdict = compare([*self.shared(found), *self.own()], found)
        judge_the_rest(seen, verdict, {str(one.deal["Id"]): one.told for one in self.oracles})
        return verdict

    def judge_built(self, seen: Change, given_up: Sequence[Oracle]) -> Verdict:
        """Every deal built and none active; nothing of the deals that were given up.

        Only a selling entity that a given-up deal added to a client which stays may stay with the client:
        another deal may have come to rely on it.
        """
        found = graph(seen)
        shared = self.shared(found)
        needed = [*shared, *(one for one in self.own() if one.kind not in AFTER_APPROVAL)]
        wanted = Counter(map(_identity, needed))
        staying = {one.name for one in shared if one.kind == CUSTOMER}
        optional = {
            _identity(one)
            for one in Portfolio(given_up).shared(found)
            if one.kind == RELATIONSHIP and one.name.split(" / ")[0] in staying
        }
        here = Counter(map(_identity, found))
        for one in optional:
            here[one] -= min(here[one], 1 if one not in wanted else 0)
        verdict = compare(wanted.elements(), here.elements())
        parents = {one.name: json.loads(one.facts)["parent"] for one in shared if one.kind == CUSTOMER}
        for one in found:
            if one.kind == CUSTOMER and json.loads(one.facts)["parent"] != parents.get(one.name):
                verdict.wrong.append(
                    f"{CUSTOMER} {one.name!r} stands under {json.loads(one.facts)['parent']}"
                )
        judge_the_rest(seen, verdict, {})
        return verdict

    # --- what must be there ---------------------------------------------------------------------------

    def own(self) -> list[Node]:
        """What every deal has for itself."""
        return [node for one in self.oracles for node in one.own()]

    def shared(self, found: Iterable[Node]) -> list[Node]:
        """Clients, their parents and their groups, each once, fit for all deals that use them.

        Which deal came first is nobody's business: a client stands under that deal's entity and currency.
        """
        users: dict[str, list[tuple[Oracle, Row]]] = {}
        for oracle in self.oracles:
            for account in oracle.new_accounts:
                users.setdefault(str(account["Id"])[:15], []).append((oracle, account))
        made = {one.name: json.loads(one.facts) for one in found if one.kind == CUSTOMER}
        nodes: dict[Node, None] = {}
        for rows in users.values():
            firsts = [(oracle.entities[0], oracle.sold_in[0]) for oracle, _ in rows]
            oracle, account = rows[0]
            facts = made.get(account["Name"], {})
            entity, currency = next(
                (
                    (entity, currency)
                    for entity, currency in firsts
                    if facts.get("subsidiary") == oracle.subsidiaries[entity]
                    and facts.get("currency") == oracle.currencies[currency]
                ),
                firsts[0],
            )
            entities = dict.fromkeys([entity, *(one for each, _ in rows for one in each.entities)])
            currencies = dict.fromkeys([currency, *(one for each, _ in rows for one in each.sold_in)])
            nodes |= dict.fromkeys(oracle.customer(account, [*entities], [*currencies]))
        for oracle in self.oracles:
            nodes |= dict.fromkeys(oracle.shared_in_delivery())
        return list(nodes)


def judge_nothing(seen: Change) -> Verdict:
    """Exactly what was there before; a record that was only put out of use is one too many."""
    verdict = Verdict()
    for vendor, types in seen.new.items():
        for kind, rows in types.items():
            verdict.orphans += [f"{vendor} {kind} {id_}" for id_ in rows]
    judge_the_rest(seen, verdict, {})
    return verdict


def _identity(one: Node) -> Node:
    """Who it is, whatever it shows."""
    return Node(one.kind, one.name, "")
