"""Revenue follow-up: what the ERP recognises revenue by, and what it made of it."""
