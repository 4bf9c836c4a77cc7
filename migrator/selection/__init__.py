"""Decides which rows of the source are carried: conditions, orphans, and what stays behind."""
