"""Time-to-billing over ports, rules and ledger: collect, prepare, post, mark; draft, issue, prove, credit."""
