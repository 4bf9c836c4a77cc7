"""Checks that every value can be carried and that the target is ready, before anything is written."""
