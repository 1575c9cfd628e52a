"""A whole firm on this machine: Temporal, simulated vendors, configuration, worker processes."""
