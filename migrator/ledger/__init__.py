"""The job's own tables in the target."""
