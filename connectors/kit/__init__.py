"""What all connectors share: HTTP session, error tables, tokens, secrets."""
