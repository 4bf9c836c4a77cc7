"""A small application that keeps notes: an example of one that the migrator knows nothing about."""
