"""Shows rows to PostgreSQL before anything is written: constraints and indexes that only it can judge."""
