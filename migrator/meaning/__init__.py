"""
What a text means, read without PostgreSQL: whether what the server holds says the same as the source's text.

For types that no library here can hold (arrays, ranges, intervals, addresses, …) PostgreSQL itself reads the source's
text. Its input functions round, cut, sort and guess, so its answer is compared with the text by this reader, part by
part. What the reader does not know passes only if the server writes it letter for letter.
"""

from migrator.meaning.compare import Same, comparer, objection
from migrator.meaning.quick import surely_same
from migrator.meaning.restated import restated
from migrator.meaning.shape import Kind, Shape

__all__ = ["Kind", "Same", "Shape", "comparer", "objection", "restated", "surely_same"]
