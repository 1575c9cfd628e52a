"""Change orders as activities: decisions over the ledger, writes over the ports."""
