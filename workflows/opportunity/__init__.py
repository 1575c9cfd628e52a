"""The parts of opportunity-to-project: reading and validating, building, closing."""
