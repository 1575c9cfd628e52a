"""Salesforce Sales Cloud: where deals come from and where their progress is told back."""

from connectors.salesforce.connector import SalesforceConnector

__all__ = ["SalesforceConnector"]
