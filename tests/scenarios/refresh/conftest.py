"""What tests of this folder need, beside the fixtures that all have."""

from refresh.stale import proxy, stale, undisturbed_packets

__all__ = ["proxy", "stale", "undisturbed_packets"]
