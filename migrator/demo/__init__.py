"""`migrator demo`: the whole job on sample data and a PostgreSQL server of its own."""
