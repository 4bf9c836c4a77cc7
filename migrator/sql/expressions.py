"""
Reads SQLite's expressions into a tree (SQLite, "SQL Language Expressions").

Expressions without a node in the tree (subqueries, windows, RAISE) raise Unreadable.
"""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from migrator.sql.lexing import Kind, Token, Unreadable, tokens


class Literal(Struct, frozen=True):
    """A value that the statement spells out."""

    value: int | float | str | bytes | None
    text: str
    """The literal as it stands in the statement."""


class Name(Struct, frozen=True):
    """A column, or text in double quotes if no column has this name. Words such as TRUE are names too."""

    name: str
    may_be_text: bool = False
    is_quoted: bool = False


class Unary(Struct, frozen=True):
    """``NOT``, ``-``, ``+`` or ``~`` before an operand."""

    operator: str
    operand: "Node"


class Binary(Struct, frozen=True):
    """Two operands and an operator in capitals. Operators with the same meaning have one spelling."""

    operator: str
    left: "Node"
    right: "Node"


class Among(Struct, frozen=True):
    """``x IN (…)``."""

    operand: "Node"
    items: tuple["Node", ...]


class Like(Struct, frozen=True):
    """``x LIKE pattern ESCAPE c``, or the same with GLOB."""

    operator: str
    operand: "Node"
    pattern: "Node"
    escape: "Node | None"


class Collated(Struct, frozen=True):
    """``x COLLATE name``."""

    operand: "Node"
    collation: str


class Cast(Struct, frozen=True):
    """``CAST(x AS type)``."""

    operand: "Node"
    kind: str


class Call(Struct, frozen=True):
    """A call of a function. The function's name is in small letters."""

    name: str
    arguments: tuple["Node", ...]


class Case(Struct, frozen=True):
    """``CASE base WHEN … THEN … ELSE … END``."""

    base: "Node | None"
    branches: tuple[tuple["Node", "Node"], ...]
    otherwise: "Node | None"


Node: TypeAlias = Literal | Name | Unary | Binary | Among | Like | Collated | Cast | Call | Case


def read(sql: str) -> Node:
    """Return the tree of one expression. Raises Unreadable if ``sql`` isn't one, or has parts without a node."""
    reader = _Reader(tokens(sql))
    try:
        node = reader.expression()
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    if reader.rest:
        raise Unreadable(f"{reader.rest[0].text!r} isn't expected there")
    return node


_EQUALITY = {"=": "=", "==": "=", "<>": "<>", "!=": "<>"}

_SQLITE_WORDS = ("SELECT", "EXISTS", "RAISE", "OVER", "FILTER")


class _Reader:
    """Parses the tokens. Each method handles the operators of one rank, from the weakest to the strongest."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0

    @property
    def rest(self) -> list[Token]:
        return self._words[self._at :]

    def _next(self, ahead: int = 0) -> Token | None:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else None

    def _take(self) -> Token:
        word = self._next()
        if word is None:
            raise Unreadable("it ends too early")
        self._at += 1
        return word

    def _takes(self, *words: str) -> bool:
        """Skip the next tokens if they are these keywords, and return whether they are."""
        following = [self._next(ahead) for ahead in range(len(words))]
        fits = all(token is not None and token.is_word(word) for token, word in zip(following, words, strict=True))
        self._at += len(words) if fits else 0
        return fits

    def _takes_operator(self, *operators: str) -> str | None:
        word = self._next()
        if word is None or not word.is_operator(*operators):
            return None
        self._at += 1
        return word.text

    def _expect(self, operator: str) -> None:
        if self._takes_operator(operator) is None:
            raise Unreadable(f"{operator} is missing")

    def expression(self) -> Node:
        node = self._conjunction()
        while self._takes("OR"):
            node = Binary("OR", node, self._conjunction())
        return node

    def _conjunction(self) -> Node:
        node = self._negation()
        while self._takes("AND"):
            node = Binary("AND", node, self._negation())
        return node

    def _negation(self) -> Node:
        return Unary("NOT", self._negation()) if self._takes("NOT") else self._equality()

    def _equality(self) -> Node:
        node = self._comparison()
        while (further := self._further(node)) is not None:
            node = further
        return node

    def _further(self, left: Node) -> Node | None:
        """Return ``left`` together with the next operator, if it has the rank of ``=``; None if it hasn't."""
        if operator := self._takes_operator(*_EQUALITY):
            return Binary(_EQUALITY[operator], left, self._comparison())
        if self._takes("ISNULL"):
            return Binary("IS", left, Literal(None, "NULL"))
        if self._takes("NOTNULL") or self._takes("NOT", "NULL"):
            return Binary("IS NOT", left, Literal(None, "NULL"))
        if self._takes("IS"):
            negated = self._takes("NOT")
            if self._takes("DISTINCT", "FROM"):
                negated = not negated
            return Binary("IS NOT" if negated else "IS", left, self._comparison())
        start = self._at
        negated = self._takes("NOT")
        membership = self._membership(left)
        if membership is None:
            self._at = start
            return None
        return Unary("NOT", membership) if negated else membership

    def _membership(self, left: Node) -> Node | None:
        if self._takes("BETWEEN"):
            least = self._comparison()
            if not self._takes("AND"):
                raise Unreadable("BETWEEN has no AND")
            most = self._comparison()
            return Binary("AND", Binary(">=", left, least), Binary("<=", left, most))
        if self._takes("IN"):
            self._expect("(")
            return Among(left, self._list())
        for operator in ("LIKE", "GLOB"):
            if self._takes(operator):
                pattern = self._comparison()
                escape = self._comparison() if self._takes("ESCAPE") else None
                return Like(operator, left, pattern, escape)
        return None

    def _list(self) -> tuple[Node, ...]:
        """Return the expressions up to the closing parenthesis, which commas separate."""
        items: list[Node] = []
        while self._takes_operator(")") is None:
            if items:
                self._expect(",")
            items.append(self.expression())
        return tuple(items)

    def _ranked(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        while operator := self._takes_operator(*operators):
            node = Binary(operator, node, operand())
        return node

    def _comparison(self) -> Node:
        return self._ranked(("<", "<=", ">", ">="), self._bits)

    def _bits(self) -> Node:
        return self._ranked(("&", "|", "<<", ">>"), self._sum)

    def _sum(self) -> Node:
        return self._ranked(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._ranked(("*", "/", "%"), self._concatenation)

    def _concatenation(self) -> Node:
        return self._ranked(("||",), self._collated)

    def _collated(self) -> Node:
        node = self._unary()
        while self._takes("COLLATE"):
            node = Collated(node, self._take().value.upper())
        return node

    def _unary(self) -> Node:
        if operator := self._takes_operator("-", "+", "~"):
            return Unary(operator, self._unary())
        return self._primary()

    def _primary(self) -> Node:
        word = self._take()
        if word.is_operator("("):
            node = self.expression()
            self._expect(")")
            return node
        if word.kind is Kind.NUMBER:
            return Literal(_number(word.text), word.text)
        if word.kind is Kind.STRING:
            return Literal(word.value, word.text)
        if word.kind is Kind.BLOB:
            return Literal(bytes.fromhex(word.value), word.text)
        if word.kind is Kind.NAME:
            return self._name(word)
        if word.kind is Kind.WORD:
            return self._word(word)
        raise Unreadable(f"{word.text!r} isn't expected there")

    def _name(self, word: Token) -> Node:
        if self._takes_operator("."):
            return Name(self._take().value, is_quoted=True)  # table.column
        return Name(word.value, may_be_text=word.is_double_quoted, is_quoted=True)

    def _word(self, word: Token) -> Node:
        if word.is_word(*_SQLITE_WORDS):
            raise Unreadable(f"{word.text} is not understood here")
        if word.is_word("NULL"):
            return Literal(None, "NULL")
        if word.is_word("CASE"):
            return self._case()
        if word.is_word("CAST"):
            return self._cast()
        if self._takes_operator("("):
            return Call(word.text.lower(), self._list())
        if self._takes_operator("."):
            return Name(self._take().value)
        return Name(word.value)

    def _case(self) -> Node:
        following = self._next()
        base = None if following is not None and following.is_word("WHEN") else self.expression()
        branches: list[tuple[Node, Node]] = []
        while self._takes("WHEN"):
            condition = self.expression()
            if not self._takes("THEN"):
                raise Unreadable("WHEN has no THEN")
            branches.append((condition, self.expression()))
        otherwise = self.expression() if self._takes("ELSE") else None
        if not self._takes("END"):
            raise Unreadable("CASE has no END")
        return Case(base, tuple(branches), otherwise)

    def _cast(self) -> Node:
        self._expect("(")
        operand = self.expression()
        if not self._takes("AS"):
            raise Unreadable("CAST has no AS")
        kind: list[str] = []
        while self._takes_operator(")") is None:
            kind.append(self._take().text.upper())
        return Cast(operand, " ".join(kind))


def _number(text: str) -> int | float:
    """Return a number as SQLite reads it. Whole numbers beyond 64 bits are REAL (SQLite, "Literal Values")."""
    if text.lower().startswith("0x"):
        value = int(text, 16)
        return value - (1 << 64) if value >= 1 << 63 else value
    if text.isdigit():
        return int(text) if int(text) < 1 << 63 else float(text)
    return float(text)
