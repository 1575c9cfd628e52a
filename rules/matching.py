"""Is an ERP customer the client of a deal? Exact evidence decides, similarity only suggests."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from rapidfuzz import fuzz

from canonical.operations import ErpClient
from canonical.parties import Client, ClientCandidate, ClientMatch

_LEGAL_FORMS = re.compile(
    r"\b(gmbh|ag|kg|bv|nv|ltd|limited|llc|inc|incorporated|corp|corporation|co|company|plc|sa|sas|sarl|srl|spa|"
    r"oy|ab|as|aps|kk|pte|pty|group|holding|holdings)\b"
)


def fold(name: str) -> str:
    """A company name reduced to what distinguishes it: no case, accents, punctuation, legal form."""
    text = unicodedata.normalize("NFKD", name).casefold()
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"(?<=\w)\.(?=\w)", "", text)
    text = re.sub(r"[^\w]+", " ", text)
    reduced = re.sub(r"\s+", " ", _LEGAL_FORMS.sub(" ", text)).strip()
    return reduced or text.strip()


def tax_digits(number: str) -> str:
    """A tax number without the separators people put in it."""
    return re.sub(r"[^A-Z0-9]", "", number.upper())


def candidates(
    client: Client, found: Sequence[ErpClient], *, system: str, similarity: int
) -> list[ClientCandidate]:
    """What ``found`` could be, best first; nothing below ``similarity`` on the name alone."""
    ours = _tax_numbers(registration.number for registration in client.tax_registrations)
    known = client.erp_ids.get(system)
    result = []
    for row in found:
        evidence: list[str] = []
        match, score = ClientMatch.NAME, round(fuzz.token_sort_ratio(fold(client.name), fold(row.name)))
        if row.linked:
            match, score = ClientMatch.LINK, 100
            evidence.append("linked before")
        elif row.external_id is not None and _carries(row.external_id, client.key):
            match, score = ClientMatch.EXTERNAL_ID, 100
            evidence.append(f"carries our key {row.external_id}")
        elif known is not None and row.ref.id == known:
            match, score = ClientMatch.EXTERNAL_ID, 100
            evidence.append(f"the CRM names it as {known}")
        elif ours & _tax_numbers(row.tax_numbers):
            match, score = ClientMatch.TAX_ID, 100
            evidence.append("same tax registration")
        elif score < similarity:
            continue
        else:
            evidence.append(f"name is {score} % similar")
        if row.city and client.address.city and fold(row.city) == fold(client.address.city):
            evidence.append(f"same city, {row.city}")
        elif row.city and client.address.city:
            evidence.append(f"other city: {row.city}")
        if row.country and client.address.country and row.country != client.address.country:
            evidence.append(f"other country: {row.country}")
        if row.inactive:
            evidence.append("inactive")
        result.append(
            ClientCandidate(
                ref=row.ref,
                name=row.name,
                match=match,
                score=score,
                evidence=tuple(evidence),
                subsidiaries=row.entities,
                inactive=row.inactive,
            )
        )
    order = list(ClientMatch)
    return sorted(result, key=lambda one: (order.index(one.match), -one.score, one.ref.id))


def _tax_numbers(numbers: Iterable[str]) -> set[str]:
    """What can be compared: every real number has a digit; "n/a" on both sides says nothing."""
    return {digits for number in numbers if re.search(r"\d", digits := tax_digits(number))}


def _carries(external_id: str, key: str) -> bool:
    """Whether an external id is the key or a stamp made from it; C1 is not in C12."""
    part = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")
    return external_id == key or f"-{part}-" in f"-{external_id}-"


def decisive(options: Sequence[ClientCandidate]) -> ClientCandidate | None:
    """The one candidate with exact evidence of the strongest kind; None when a person must choose."""
    for kind in (ClientMatch.LINK, ClientMatch.EXTERNAL_ID, ClientMatch.TAX_ID):
        exact = [one for one in options if one.match is kind]
        if exact:
            return exact[0] if len(exact) == 1 else None
    return None
