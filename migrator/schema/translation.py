"""
SQLite's expressions in PostgreSQL's SQL, as far as both mean the same for every row.

SQLite's LIKE and NOCASE fold the letters of ASCII, its comparisons follow affinities, its truths are numbers, a
division by zero is NULL: what is carried says so in PostgreSQL's words. What can't be shown to mean the same isn't.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from migrator.names import quote_literal
from migrator.schema.operands import Columns, Operand, Sort, Untranslatable, as_text, compared, constant, number
from migrator.source.schema import Affinity
from migrator.sql.expressions import Among, Binary, Call, Case, Cast, Collated, Like, Literal, Name, Node, Unary, read
from migrator.sql.lexing import Unreadable, fold


def translated(sql: str, columns: Columns, *, may_change: bool = False) -> Operand:
    """
    Return what an expression is in PostgreSQL; raises Untranslatable.

    With ``may_change`` it may call for chance, as a default does.
    """
    try:
        return _Translator(columns, may_change).value(read(sql))
    except Unreadable as error:
        raise Untranslatable(str(error)) from None


def condition(sql: str, columns: Columns) -> str:
    """Return what an expression is as PostgreSQL's condition; raises Untranslatable."""
    return truth(translated(sql, columns))


def truth(one: Operand) -> str:
    """Return an operand as a condition: to SQLite every number but 0 is true (SQLite, "Boolean Expressions")."""
    if one.sort is Sort.TRUTH:
        return one.sql
    if one.sort in {Sort.INTEGER, Sort.REAL, Sort.EXACT}:
        return f"({one.sql} <> 0)"
    if one.sort is Sort.NOTHING:
        return "NULL::boolean"
    raise Untranslatable(f"{one.sql} is not a condition")


# 32 bytes of chance out of two UUIDs of version 4, of which each has 122 bits.
_CHANCE = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"

_MOST_CHANCE = 32

_MOST_SHIFT = 62

_TYPES = {Sort.INTEGER: "integer", Sort.TRUTH: "integer", Sort.REAL: "real", Sort.TEXT: "text", Sort.BYTES: "blob"}


@dataclass(frozen=True, slots=True)
class _Translator:
    columns: Columns
    may_change: bool

    def value(self, node: Node) -> Operand:  # noqa: C901, PLR0911 - one line for each kind of node
        match node:
            case Literal(value=value):
                return constant(value)
            case Name():
                return self._name(node)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Among(operand=operand, items=items):
                return self._among(self.value(operand), [self.value(item) for item in items])
            case Like():
                return self._like(node)
            case Collated(operand=operand, collation=collation):
                return replace(self.value(operand), collation=collation, has_own_collation=True)
            case Cast():
                return self._cast(node)
            case Case():
                return self._case(node)
            case Call():
                return self._call(node)

    def _name(self, node: Name) -> Operand:
        if known := self.columns.get(fold(node.name)):
            return known
        if node.may_be_text:
            return constant(node.name)
        if not node.is_quoted and fold(node.name) in {"true", "false"}:
            return Operand(fold(node.name), Sort.TRUTH, literal=int(fold(node.name) == "true"))
        raise Untranslatable(f"there is no column {node.name} in the target")

    def _unary(self, node: Unary) -> Operand:
        one = self.value(node.operand)
        if node.operator == "NOT":
            return Operand(f"(NOT {truth(one)})", Sort.TRUTH)
        one = number(one)
        if node.operator == "-" and isinstance(one.literal, int | float):
            return constant(-one.literal)
        if node.operator == "+" and one.affinity is None:
            return one
        if node.operator == "-" and one.sort is Sort.INTEGER:
            return Operand(f"(- {one.sql}::numeric)", Sort.INTEGER)
        if node.operator == "-" and one.sort is Sort.REAL:
            return Operand(f"(- {one.sql})", Sort.REAL)
        raise Untranslatable(f"{node.operator} is translated for other values only")

    def _binary(self, node: Binary) -> Operand:
        left, right = self.value(node.left), self.value(node.right)
        match node.operator:
            case "AND" | "OR":
                return Operand(f"({truth(left)} {node.operator} {truth(right)})", Sort.TRUTH)
            case "=" | "<>" | "<" | "<=" | ">" | ">=" | "IS" | "IS NOT":
                return Operand(self._compared(node, left, right), Sort.TRUTH)
            case "||":
                return Operand(f"({as_text(left)} || {as_text(right)})", Sort.TEXT)
            case "+" | "-" | "*" | "/" | "%":
                return _computed(node.operator, number(left), number(right))
            case "&" | "|" | "<<" | ">>":
                return _bits(node.operator, number(left), number(right))
        raise Untranslatable(f"the operator {node.operator} is SQLite's own")

    @staticmethod
    def _compared(node: Binary, left: Operand, right: Operand) -> str:
        is_word = isinstance(node.right, Name) and right.sort is Sort.TRUTH and right.affinity is None
        if node.operator in {"IS", "IS NOT"} and is_word:  # x IS TRUE asks whether x is true, not whether it is 1
            return f"({truth(left)} {node.operator} {right.sql})"
        return compared(node.operator, left, right)

    @staticmethod
    def _among(one: Operand, items: Sequence[Operand]) -> Operand:
        if not items:
            return Operand("false", Sort.TRUTH)  # also of NULL (SQLite, "The IN and NOT IN operators")
        if any(item.literal is None and item.sort is not Sort.NOTHING for item in items):
            raise Untranslatable("IN is translated with literals only")
        return Operand(f"({' OR '.join(compared('=', one, item) for item in items)})", Sort.TRUTH)

    def _like(self, node: Like) -> Operand:
        subject, pattern = self.value(node.operand), self.value(node.pattern)
        escape = self.value(node.escape).literal if node.escape else ""
        if not isinstance(pattern.literal, str) or not isinstance(escape, str):
            raise Untranslatable(f"{node.operator} is translated with a literal only")
        text = as_text(subject)
        if node.operator == "GLOB":
            return Operand(f'({text} COLLATE "C" ~ {quote_literal(_glob(pattern.literal))})', Sort.TRUTH)
        if node.escape and (len(escape) != 1 or escape.isalpha()):
            raise Untranslatable("a letter can't be the sign that escapes")
        lower = quote_literal(fold(pattern.literal))
        return Operand(f'(lower({text} COLLATE "C") LIKE {lower} ESCAPE {quote_literal(escape)})', Sort.TRUTH)

    def _cast(self, node: Cast) -> Operand:
        one = number(self.value(node.operand))
        if node.kind in {"INTEGER", "INT", "BIGINT"} and one.sort is Sort.INTEGER:
            return replace(one, affinity=Affinity.INTEGER)
        if node.kind in {"TEXT", "VARCHAR"} and one.sort in {Sort.TEXT, Sort.INTEGER}:
            return Operand(as_text(one), Sort.TEXT, affinity=Affinity.TEXT)
        raise Untranslatable(f"PostgreSQL casts to {node.kind} by other rules")

    def _case(self, node: Case) -> Operand:
        base = self.value(node.base) if node.base else None
        conditions = [
            compared("=", base, self.value(when)) if base else truth(self.value(when)) for when, _ in node.branches
        ]
        results = [self.value(then) for _, then in node.branches]
        results.append(self.value(node.otherwise) if node.otherwise else constant(None))
        results, sort = _of_one_sort(results)
        branches = " ".join(f"WHEN {when} THEN {then.sql}" for when, then in zip(conditions, results, strict=False))
        return Operand(f"(CASE {branches} ELSE {results[-1].sql} END)", sort)

    def _call(self, node: Call) -> Operand:  # noqa: C901, PLR0911, PLR0912 - one line for each function
        given = [self.value(argument) for argument in node.arguments]
        sorts = tuple(one.sort for one in given)
        match node.name, given:
            case ("likely" | "unlikely", [one]):
                return one
            case ("iif", [_, _, _]):
                condition_node, then, otherwise = node.arguments
                return self._case(Case(None, ((condition_node, then),), otherwise))
            case ("coalesce" | "ifnull", [_, _, *_]):
                same, sort = _of_one_sort(given)
                return Operand(f"coalesce({', '.join(one.sql for one in same)})", sort)
            case ("nullif", [one, other]):
                one = number(one)
                return Operand(f"(CASE WHEN {compared('=', one, other)} THEN NULL ELSE {one.sql} END)", one.sort)
            case ("length", [one]):
                return Operand(f"length({one.sql if one.sort is Sort.BYTES else as_text(one)})", Sort.INTEGER)
            case ("typeof", [one]) if one.sort in _TYPES and one.kind:
                of_column = one.affinity in {Affinity.TEXT, None} or one.sort is not Sort.TEXT
                if of_column:
                    return Operand(
                        f"(CASE WHEN {one.sql} IS NULL THEN 'null' ELSE '{_TYPES[one.sort]}' END)", Sort.TEXT
                    )
            case ("lower" | "upper", [one]):
                return Operand(f'{node.name}({as_text(one)} COLLATE "C")', Sort.TEXT)
            case ("trim" | "ltrim" | "rtrim", [one, *more]) if len(more) <= 1:
                signs = as_text(more[0]) if more else "' '"
                name = "btrim" if node.name == "trim" else node.name
                return Operand(f"{name}({as_text(one)}, {signs})", Sort.TEXT)
            case ("replace", [_, _, _]):
                return Operand(f"replace({', '.join(as_text(one) for one in given)})", Sort.TEXT)
            case ("instr", [_, _]) if sorts == (Sort.TEXT, Sort.TEXT):
                return Operand(f"strpos({given[0].sql}, {given[1].sql})", Sort.INTEGER)
            case ("substr" | "substring", [one, *bounds]) if 1 <= len(bounds) <= 2:  # noqa: PLR2004 - start, length
                if _least(node.arguments[1]) >= 1 and all(_least(bound) >= 0 for bound in node.arguments[2:]):
                    listed = ", ".join(f"({number(bound).sql})::integer" for bound in bounds)
                    return Operand(f"substr({as_text(one)}, {listed})", Sort.TEXT)
            case ("abs", [one]) if number(one).sort is Sort.INTEGER:
                return Operand(f"abs({number(one).sql}::numeric)", Sort.INTEGER)
            case ("json_valid", [one]) if one.kind in {"json", "jsonb"}:
                return Operand(f"(CASE WHEN {one.sql} IS NOT NULL THEN true END)", Sort.TRUTH)
            case ("hex", [one]) if one.sort is Sort.BYTES:
                return Operand(f"upper(encode({one.sql}, 'hex'))", Sort.TEXT)
            case ("randomblob", [one]) if self.may_change and isinstance(one.literal, int):
                if 1 <= one.literal <= _MOST_CHANCE:
                    return Operand(f"substr({_CHANCE}, 1, {one.literal})", Sort.BYTES)
            case ("random", []) if self.may_change:
                return Operand(f"('x' || encode(substr({_CHANCE}, 1, 8), 'hex'))::bit(64)::bigint", Sort.INTEGER)
        raise Untranslatable(f"it calls {node.name}, which is SQLite's or the application's own")


def _computed(operator: str, left: Operand, right: Operand) -> Operand:
    if Sort.REAL in {left.sort, right.sort}:
        sides = [constant(float(one.literal)) if isinstance(one.literal, int) else one for one in (left, right)]
        if {one.sort for one in sides} == {Sort.REAL} and operator != "%":
            divisor = f"nullif({sides[1].sql}, 0)" if operator == "/" else sides[1].sql
            return Operand(f"({sides[0].sql} {operator} {divisor})", Sort.REAL)
    if left.sort is not Sort.INTEGER or right.sort is not Sort.INTEGER:
        raise Untranslatable(f"PostgreSQL computes {operator} by other rules")
    one, other = f"{left.sql}::numeric", f"{right.sql}::numeric"
    if operator == "/":
        return Operand(f"div({one}, nullif({other}, 0))", Sort.INTEGER)
    if operator == "%":
        return Operand(f"mod({one}, nullif({other}, 0))", Sort.INTEGER)
    return Operand(f"({one} {operator} {other})", Sort.INTEGER)


def _bits(operator: str, left: Operand, right: Operand) -> Operand:
    if left.sort is not Sort.INTEGER or right.sort is not Sort.INTEGER:
        raise Untranslatable(f"{operator} is translated for whole numbers only")
    if operator in {"<<", ">>"}:
        if not isinstance(right.literal, int) or not 0 <= right.literal <= _MOST_SHIFT:
            raise Untranslatable("PostgreSQL shifts bits by other rules")
        return Operand(f"(({left.sql})::bigint {operator} {right.literal})", Sort.INTEGER)
    return Operand(f"(({left.sql})::bigint {operator} ({right.sql})::bigint)", Sort.INTEGER)


def _of_one_sort(some: Sequence[Operand]) -> tuple[list[Operand], Sort]:
    """Return operands as values of one sort, of which one is chosen; raises Untranslatable."""
    sorts = {one.sort for one in some} - {Sort.NOTHING}
    if sorts == {Sort.INTEGER, Sort.TRUTH}:
        return [number(one) for one in some], Sort.INTEGER
    if len(sorts) != 1 or Sort.OTHER in sorts:
        raise Untranslatable("its values are of several types")
    if Sort.INTEGER in sorts:
        some = [replace(one, sql=f"{one.sql}::numeric") if one.sort is Sort.INTEGER else one for one in some]
    return list(some), sorts.pop()


def _least(node: Node) -> float:
    """Return what a number is at least, as far as its form says so."""
    match node:
        case Literal(value=int(value)):
            return value
        case Call(name="abs" | "length"):
            return 0
        case Binary(operator="%", left=left) if _least(left) >= 0:
            return 0
        case Binary(operator="+", left=left, right=right):
            return _least(left) + _least(right)
    return float("-inf")


def _glob(pattern: str) -> str:
    """Return a GLOB pattern as a regular expression (SQLite, "The LIKE, GLOB, REGEXP … operators")."""
    found = re.compile(r"\*|\?|\[\^?\]?[^\]]*\]|\[|[^*?\[]+", re.DOTALL).findall(pattern)
    return f"^(?:{''.join(map(_glob_part, found))})$"


def _glob_part(part: str) -> str:
    if part == "*":
        return ".*"
    if part == "?":
        return "."
    if part == "[":
        raise Untranslatable("a bracket in the pattern isn't closed")
    if part.startswith("["):
        inner = part[1:-1]
        negated = "^" if inner.startswith("^") else ""
        inner = inner.removeprefix("^")
        return f"[{negated}{re.sub(r'[^a-zA-Z0-9-]', lambda sign: chr(92) + sign.group(), inner)}]"
    return re.sub(r"[^\w]", lambda sign: chr(92) + sign.group(), part)
