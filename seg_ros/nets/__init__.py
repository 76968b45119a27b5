"""Networks by name, one architecture per file. Needs torch."""
