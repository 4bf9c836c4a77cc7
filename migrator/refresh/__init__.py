"""Carries only what has changed in the source since the last run, into a target that still is as that run left it."""
