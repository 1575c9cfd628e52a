"""Oracle NetSuite (SuiteTalk REST record service, SuiteQL) as ERP; see this folder's README."""

from connectors.netsuite.connector import NetSuiteConnector

__all__ = ["NetSuiteConnector"]
