"""Learns from the pages of SQLite's file which rows may have changed since they were compared."""
