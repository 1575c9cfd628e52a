"""Invoice feedback: reading the ERP again, showing figures, polling."""
