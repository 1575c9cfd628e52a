"""Which vendors there are: name in the configuration, settings class, connector class.

The only place that imports vendor folders. A vendor is imported when an instance of it is configured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from connectors.ports import ConnectedSystem


@dataclass(frozen=True)
class Vendor:
    """Where a vendor's classes are."""

    package: str
    settings: str
    connector: str
    record_id: str | None = None
    """``module:function`` that turns any spelling of a record's id into the one we keep."""

    def spelled(self, record_id: str) -> str:
        """The one spelling of a record's id: two spellings of one deal would be two sagas."""
        if self.record_id is None:
            return record_id
        module, _, function = self.record_id.partition(":")
        known: str | None = getattr(import_module(f"{self.package}.{module}"), function)(record_id)
        return known or record_id

    def load(self) -> tuple[type[BaseModel], Callable[[str, Any], ConnectedSystem]]:
        """(settings class, connector factory)."""
        settings = getattr(import_module(f"{self.package}.settings"), self.settings)
        return settings, getattr(import_module(self.package), self.connector)


VENDORS: dict[str, Vendor] = {
    "salesforce": Vendor(
        "connectors.salesforce", "SalesforceSettings", "SalesforceConnector", record_id="ids:record_id"
    ),
    "netsuite": Vendor("connectors.netsuite", "NetSuiteSettings", "NetSuiteConnector"),
    "kantata": Vendor("connectors.kantata", "KantataSettings", "KantataConnector"),
    "hr_file": Vendor("connectors.hr_file", "HrFileSettings", "HrFileConnector"),
    "webhook": Vendor("connectors.notify", "WebhookSettings", "WebhookNotifier"),
    "smtp": Vendor("connectors.notify", "SmtpSettings", "SmtpNotifier"),
}
