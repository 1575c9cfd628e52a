"""Stateful vendor simulators with fault injection, written from the vendors' published facts.

They import nothing of the product: a simulator that shares code with the connector it judges
proves nothing. Each vendor is a package with a ``build()`` that returns a ``kit.Simulator``.
"""
