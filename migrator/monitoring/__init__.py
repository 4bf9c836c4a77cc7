"""Keeps count of what a run is doing now, and shows it: to a terminal, the log, a metrics file, and traces."""
