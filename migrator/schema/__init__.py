"""Makes the target's tables. Each `--schema` mode that makes tables has its own module."""
