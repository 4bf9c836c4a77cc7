"""What tests of this folder need, beside the fixtures that all have."""

from fix_dryad import old_file

__all__ = ["old_file"]
