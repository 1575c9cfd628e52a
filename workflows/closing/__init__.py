"""Closing a contract's projects, and opening them again."""
