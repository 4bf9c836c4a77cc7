"""Supports all stages: running them, retries, logs, progress, limits, private files."""
