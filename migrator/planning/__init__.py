"""Decides which source column goes into which target column."""
