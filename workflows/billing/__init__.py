"""Time-to-billing: ``PostApprovedTime`` and ``BillContract`` with clocks of their own, ``TimeToBilling`` for
a cutoff, and the explicit commands around them: take back, let go, credit.

One picture::

    PostApprovedTime   collect ----> piece 1: prepare, take back, post, mark
                               `---> piece 2: ...          (a window of pieces, each a few activities)
    BillContract       select, price, reserve -> draft -> review (gate) -> issue (pivot) -> read, settle
    TimeToBilling      PostApprovedTime as a child, then one BillContract for every group that is due

Workflows carry references (a piece's number, an invoice's key), never lines. What is committed is in the
ledger: every activity goes on from there, so that an attempt may die anywhere. A bad line is held in the
ledger with its cause, hours and money, and holds up nobody else.

A cancel stops posting at the next batch: posted lines stay posted, they are valid cost, and the next run
goes on with the rest (rule 23). A draft that is not issued is taken back; an issued invoice is only credited.
"""
