"""Makes the target's tables: one module for each `--schema` mode that makes any."""
