"""Repeatable measurements that print ratios: ``make bench``.

Everything is measured in pairs and in rounds that take turns, so that a machine which is busier for a while
is busier for both sides. Floors (the vendors' own time, the bare engine) come from the same run.
"""
