"""Compares every value of both databases. Shares no conversion with the copier."""
