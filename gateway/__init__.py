"""The HTTP front door: vendors' webhooks in, the process API, our own events out.

A request earns its 2xx by a row in the ledger; what follows from it is handed to Temporal from there.
"""
