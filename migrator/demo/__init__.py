"""The command `migrator demo`: it runs the whole job on sample data, with its own PostgreSQL server."""
