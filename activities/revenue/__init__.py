"""Revenue follow-up as activities: listing, measuring, sending, reading back (rule 2)."""
