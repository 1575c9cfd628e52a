"""State and country picklists: names and codes of an address kept in step, others refused.

Source: vendor documentation, "State and Country/Territory Picklists". The lists are settings (``countries``,
``states``); the defaults here are an excerpt. An address in a country without listed states takes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulators.salesforce.errors import RowError
from simulators.salesforce.fields import SObject

COUNTRIES: dict[str, str] = {
    "AE": "United Arab Emirates", "AT": "Austria", "AU": "Australia", "BE": "Belgium", "BR": "Brazil",
    "CA": "Canada", "CH": "Switzerland", "CZ": "Czechia", "DE": "Germany", "DK": "Denmark", "ES": "Spain",
    "FI": "Finland", "FR": "France", "GB": "United Kingdom", "IE": "Ireland", "IN": "India", "IT": "Italy",
    "JP": "Japan", "KW": "Kuwait", "LU": "Luxembourg", "MX": "Mexico", "NL": "Netherlands", "NO": "Norway",
    "NZ": "New Zealand", "PL": "Poland", "PT": "Portugal", "SE": "Sweden", "SG": "Singapore",
    "US": "United States", "ZA": "South Africa",
}  # fmt: skip

STATES: dict[str, dict[str, str]] = {
    "US": {
        "CA": "California", "CO": "Colorado", "FL": "Florida", "GA": "Georgia", "IL": "Illinois",
        "MA": "Massachusetts", "NJ": "New Jersey", "NY": "New York", "PA": "Pennsylvania", "TX": "Texas",
        "VA": "Virginia", "WA": "Washington",
    },
    "CA": {"AB": "Alberta", "BC": "British Columbia", "ON": "Ontario", "QC": "Quebec"},
    "AU": {"NSW": "New South Wales", "QLD": "Queensland", "VIC": "Victoria", "WA": "Western Australia"},
}  # fmt: skip


def _other(pairs: Mapping[str, str], code: str | None, name: str | None) -> tuple[str, str] | None:
    """(code, name) from whichever is given, or None when the list has no such entry."""
    if code is not None:
        return (code, pairs[code]) if code in pairs else None
    return next(((c, n) for c, n in pairs.items() if n.casefold() == str(name).casefold()), None)


def settle(one: SObject, record: dict[str, Any], changed: set[str], settings: Mapping[str, Any]) -> None:
    """Check every address of a record and fill in the missing half of each code and name pair.

    Raises:
        RowError: FIELD_INTEGRITY_EXCEPTION naming the field whose value is not in the list.
    """
    for prefix in ("Billing", "Shipping", "Mailing"):
        if prefix + "Country" not in one.fields:
            continue
        country = _settle_one(record, changed, prefix + "Country", "country/territory", settings["countries"])
        states = settings["states"].get(country, {})
        state_given = [record.get(prefix + "State"), record.get(prefix + "StateCode")] != [None, None]
        if state_given and country is None:
            message = "A country/territory must be specified before specifying a state value for field: "
            raise RowError(
                "FIELD_INTEGRITY_EXCEPTION", message + prefix + " State/Province", [prefix + "State"]
            )
        if changed & {prefix + "Country", prefix + "CountryCode", prefix + "State", prefix + "StateCode"}:
            _settle_one(record, changed, prefix + "State", "state", states)


def _settle_one(
    record: dict[str, Any], changed: set[str], field: str, word: str, pairs: Mapping[str, str]
) -> str | None:
    code_field = field + "Code"
    if not changed & {field, code_field}:
        code: str | None = record.get(code_field)
        return code
    by_code = code_field in changed and record.get(code_field) is not None
    code, name = record.get(code_field) if by_code else None, record.get(field) if field in changed else None
    if code is None and name is None:
        record[field] = record[code_field] = None
        return None
    found = _other(pairs, code, name)
    if found is None:
        shown = code_field if by_code else field
        message = (
            f"There's a problem with this {word}, even though it may appear correct. "
            f"Please select a {word} from the list of valid {'countries' if word != 'state' else 'states'}."
        )
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message, [shown])
    record[code_field], record[field] = found
    return found[0]
