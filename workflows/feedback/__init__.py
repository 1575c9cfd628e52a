"""Invoice feedback and the polls behind it."""
