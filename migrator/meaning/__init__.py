"""
Reads the meaning of a text without PostgreSQL, and compares it with the value that the server holds.

No library here can hold values of some types (arrays, ranges, intervals, addresses, …), so PostgreSQL itself reads the
source's text. Its input functions round, cut, sort and guess. Therefore these modules read the text too, and compare
its value part by part with the server's answer. A text of a type that these modules don't know passes only if the
server writes exactly the same text.
"""
