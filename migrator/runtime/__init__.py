"""What surrounds the work: stages, retries, logs, progress, limits."""
