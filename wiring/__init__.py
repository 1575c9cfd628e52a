"""The composition root: builds connectors, ledger and activities from settings."""
