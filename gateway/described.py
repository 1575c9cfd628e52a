"""What both descriptions of the interface share."""

VERSION = "1.0.0"
"""Of the API and of the events; paths and types begin or end with the major number."""
