"""The settings: each is defined once and read from flags, environment and files."""
