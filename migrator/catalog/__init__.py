"""Reads PostgreSQL's catalogs about a schema: keys, constraints, sequences, triggers."""
