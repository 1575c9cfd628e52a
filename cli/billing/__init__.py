"""The commands of time-to-billing: for people in finance, who work without an engineer beside them."""
