"""SQLite's SQL as text: its words, definitions and expressions."""
