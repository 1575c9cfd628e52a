"""Receivers of webhooks of vendors that are no connected systems yet, and of the open standards. Pure.

A vendor's receiver moves into its own folder (``webhooks.py`` there) together with its connector.
"""
