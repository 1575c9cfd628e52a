"""The ledger: what we did to which system, and whether we may do it (again).

Temporal says what comes next, the ledger whether we may send, the vendor what exists. No intent row,
no call. Everything is reached through ``ledger.store.Ledger``; rows come back as frozen models from
``ledger.rows``, never as database objects. No transaction here spans a call to a vendor.
"""
