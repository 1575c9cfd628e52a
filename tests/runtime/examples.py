"""A small valid ``trueup.toml`` for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

VALID = """
[firm]
name = "Acme Consulting"
region = "emea"
regions = ["amer"]

[temporal]
address = "127.0.0.1:7233"

[worker]
slots = { netsuite-emea = 3 }

[systems.sf-main]
vendor = "salesforce"
roles = ["crm"]
base_url = "https://acme.example"
auth = { client_id = { env = "SF_CLIENT" } }

[systems.netsuite-emea]
vendor = "netsuite"
roles = ["erp"]
region = "emea"
concurrency = 5
tolerance = 0.01

[systems.kantata-main]
vendor = "kantata"
roles = ["psa", "notification"]

[[entities]]
code = "DE01"
name = "Acme GmbH"
country = "DE"
base_currency = "EUR"
timezone = "Europe/Berlin"

[[services]]
code = "IMPL"
name = "Implementation"
items = { netsuite-emea = "401" }
milestones = [{ title = "Kick-off", share = 0.25 }]

[[routes]]
legal_entity = "DE01"
region = "emea"
crm = "sf-main"
erp = "netsuite-emea"
psa = "kantata-main"
effective_to = 2026-06-30

[[routes]]
legal_entity = "DE01"
region = "emea"
crm = "sf-main"
erp = "netsuite-emea"
psa = "kantata-main"
effective_from = 2026-07-01

[policies]
deal_types = { New = "new_engagement" }
repair_roles = { billing = ["finance"] }

[notify]
system = "kantata-main"
default_channel = "#ops"
channels = { pmo = "#pmo" }

[actors]
ada = ["finance", "pmo"]
"""


def write(folder: Path, text: str = VALID) -> Path:
    file = folder / "trueup.toml"
    file.write_text(text, encoding="utf-8")
    return file
