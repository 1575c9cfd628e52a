"""Kantata OX (formerly Mavenlink): projects, structure, placeholders, approved time, invoice feedback."""

from connectors.kantata.connector import KantataConnector

__all__ = ["KantataConnector"]
