"""How any process of the product connects: settings, Temporal client, logs, telemetry, life cycle."""
