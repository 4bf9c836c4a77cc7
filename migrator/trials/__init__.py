"""Tries rows on PostgreSQL before anything is written: for constraints and indexes that only PostgreSQL can judge."""
