"""What PostgreSQL's catalogs say of a schema: keys, constraints, sequences, triggers."""
