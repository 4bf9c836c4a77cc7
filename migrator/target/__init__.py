"""The target: the PostgreSQL database."""
