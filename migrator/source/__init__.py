"""The SQLite database. Everything here only reads."""
