"""Recognises the tables in which migration tools keep the versions of a schema, and compares their versions."""
