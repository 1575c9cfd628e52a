"""Connected systems: ports in canonical terms, the shared HTTP kit, one folder per vendor."""
