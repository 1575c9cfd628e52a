"""Schema versions of the ledger, run by ``ledger.migrate``."""
