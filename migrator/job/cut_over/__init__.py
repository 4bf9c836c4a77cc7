"""Moves in two steps: rehearses on the real target, and later carries what has changed since."""
