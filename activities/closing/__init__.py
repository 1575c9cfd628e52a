"""Closing projects as activities: facts from every system, the decision, writes over the ports."""
