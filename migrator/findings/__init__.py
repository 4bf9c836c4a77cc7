"""Describes the values of the source that need attention: findings, examples, notices, and remedies."""
