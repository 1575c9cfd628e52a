"""The process API: what other systems ask of Trueup and let it start, by OAuth 2 bearer tokens."""
