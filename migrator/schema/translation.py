"""
Translates SQLite's expressions into PostgreSQL's SQL, if both certainly give the same result for every row.

In SQLite, LIKE and NOCASE fold only the letters of ASCII, comparisons follow affinities, booleans are numbers, and a
division by zero is NULL. The translation keeps all of this. An expression that may give another result is refused.
"""

import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from migrator.names import quote_literal
from migrator.schema.operands import Columns, Operand, Sort, Untranslatable, as_text, compared, constant, number
from migrator.source.schema import Affinity
from migrator.sql.expressions import Among, Binary, Call, Case, Cast, Collated, Like, Literal, Name, Node, Unary, read
from migrator.sql.lexing import Unreadable, fold


def translated(sql: str, columns: Columns, *, may_change: bool = False) -> Operand:
    """
    Translate an expression of SQLite that may use ``columns``.

    With ``may_change`` the expression may call random functions, as a default may. Raises Untranslatable.
    """
    try:
        return _Translator(columns, may_change).value(read(sql))
    except Unreadable as error:
        raise Untranslatable(str(error)) from None


def condition(sql: str, columns: Columns) -> str:
    """Translate an expression of SQLite into a condition of PostgreSQL; raise Untranslatable."""
    return truth(translated(sql, columns))


def truth(one: Operand) -> str:
    """
    Return SQL for an operand as a condition: in SQLite, every number except 0 is true ("Boolean Expressions").

    Raises Untranslatable for an operand that is not a number or a boolean.
    """
    if one.sort is Sort.TRUTH:
        return one.sql
    if one.sort in {Sort.INTEGER, Sort.REAL, Sort.EXACT}:
        return f"({one.sql} <> 0)"
    if one.sort is Sort.NOTHING:
        return "NULL::boolean"
    raise Untranslatable(f"{one.sql} is not a condition")


# 32 random bytes from two UUIDs of version 4, each with 122 random bits.
_CHANCE = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"

_MOST_CHANCE = 32

_MOST_SHIFT = 62

_TYPES = {Sort.INTEGER: "integer", Sort.TRUTH: "integer", Sort.REAL: "real", Sort.TEXT: "text", Sort.BYTES: "blob"}


class _Translator(Struct, frozen=True):
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
        operand = self.value(node.operand)
        if node.operator == "NOT":
            return Operand(f"(NOT {truth(operand)})", Sort.TRUTH)
        operand = number(operand)
        if node.operator == "-" and isinstance(operand.literal, int | float):
            return constant(-operand.literal)
        if node.operator == "+" and operand.affinity is None:
            return operand
        if node.operator == "-" and operand.sort is Sort.INTEGER:
            return Operand(f"(- {operand.sql}::numeric)", Sort.INTEGER)
        if node.operator == "-" and operand.sort is Sort.REAL:
            return Operand(f"(- {operand.sql})", Sort.REAL)
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
        if node.operator in {"IS", "IS NOT"} and is_word:  # x IS TRUE tests whether x is true, not whether x equals 1
            return f"({truth(left)} {node.operator} {right.sql})"
        return compared(node.operator, left, right)

    @staticmethod
    def _among(operand: Operand, items: Sequence[Operand]) -> Operand:
        if not items:
            return Operand("false", Sort.TRUTH)  # also for NULL (SQLite, "The IN and NOT IN operators")
        if any(item.literal is None and item.sort is not Sort.NOTHING for item in items):
            raise Untranslatable("IN is translated with literals only")
        return Operand(f"({' OR '.join(compared('=', operand, item) for item in items)})", Sort.TRUTH)

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
        operand = number(self.value(node.operand))
        if node.kind in {"INTEGER", "INT", "BIGINT"} and operand.sort is Sort.INTEGER:
            return replace(operand, affinity=Affinity.INTEGER)
        if node.kind in {"TEXT", "VARCHAR"} and operand.sort in {Sort.TEXT, Sort.INTEGER}:
            return Operand(as_text(operand), Sort.TEXT, affinity=Affinity.TEXT)
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
        arguments = [self.value(argument) for argument in node.arguments]
        sorts = tuple(operand.sort for operand in arguments)
        match node.name, arguments:
            case ("likely" | "unlikely", [operand]):
                return operand
            case ("iif", [_, _, _]):
                condition_node, then, otherwise = node.arguments
                return self._case(Case(None, ((condition_node, then),), otherwise))
            case ("coalesce" | "ifnull", [_, _, *_]):
                same, sort = _of_one_sort(arguments)
                return Operand(f"coalesce({', '.join(operand.sql for operand in same)})", sort)
            case ("nullif", [operand, other]):
                operand = number(operand)
                return Operand(
                    f"(CASE WHEN {compared('=', operand, other)} THEN NULL ELSE {operand.sql} END)", operand.sort
                )
            case ("length", [operand]):
                return Operand(
                    f"length({operand.sql if operand.sort is Sort.BYTES else as_text(operand)})", Sort.INTEGER
                )
            case ("typeof", [operand]) if operand.sort in _TYPES and operand.kind:
                of_column = operand.affinity in {Affinity.TEXT, None} or operand.sort is not Sort.TEXT
                if of_column:
                    return Operand(
                        f"(CASE WHEN {operand.sql} IS NULL THEN 'null' ELSE '{_TYPES[operand.sort]}' END)", Sort.TEXT
                    )
            case ("lower" | "upper", [operand]):
                return Operand(f'{node.name}({as_text(operand)} COLLATE "C")', Sort.TEXT)
            case ("trim" | "ltrim" | "rtrim", [operand, *more]) if len(more) <= 1:
                signs = as_text(more[0]) if more else "' '"
                name = "btrim" if node.name == "trim" else node.name
                return Operand(f"{name}({as_text(operand)}, {signs})", Sort.TEXT)
            case ("replace", [_, _, _]):
                return Operand(f"replace({', '.join(as_text(operand) for operand in arguments)})", Sort.TEXT)
            case ("instr", [_, _]) if sorts == (Sort.TEXT, Sort.TEXT):
                return Operand(f"strpos({arguments[0].sql}, {arguments[1].sql})", Sort.INTEGER)
            case ("substr" | "substring", [operand, *bounds]) if 1 <= len(bounds) <= 2:  # noqa: PLR2004 - start, length
                if _least(node.arguments[1]) >= 1 and all(_least(bound) >= 0 for bound in node.arguments[2:]):
                    listed = ", ".join(f"({number(bound).sql})::integer" for bound in bounds)
                    return Operand(f"substr({as_text(operand)}, {listed})", Sort.TEXT)
            case ("abs", [operand]) if number(operand).sort is Sort.INTEGER:
                return Operand(f"abs({number(operand).sql}::numeric)", Sort.INTEGER)
            case ("json_valid", [operand]) if operand.kind in {"json", "jsonb"}:
                return Operand(f"(CASE WHEN {operand.sql} IS NOT NULL THEN true END)", Sort.TRUTH)
            case ("hex", [operand]) if operand.sort is Sort.BYTES:
                return Operand(f"upper(encode({operand.sql}, 'hex'))", Sort.TEXT)
            case ("randomblob", [operand]) if self.may_change and isinstance(operand.literal, int):
                if 1 <= operand.literal <= _MOST_CHANCE:
                    return Operand(f"substr({_CHANCE}, 1, {operand.literal})", Sort.BYTES)
            case ("random", []) if self.may_change:
                return Operand(f"('x' || encode(substr({_CHANCE}, 1, 8), 'hex'))::bit(64)::bigint", Sort.INTEGER)
        raise Untranslatable(f"it calls {node.name}, which is SQLite's or the application's own")


def _computed(operator: str, left: Operand, right: Operand) -> Operand:
    if Sort.REAL in {left.sort, right.sort}:
        operands = [
            constant(float(operand.literal)) if isinstance(operand.literal, int) else operand
            for operand in (left, right)
        ]
        if {operand.sort for operand in operands} == {Sort.REAL} and operator != "%":
            divisor = f"nullif({operands[1].sql}, 0)" if operator == "/" else operands[1].sql
            return Operand(f"({operands[0].sql} {operator} {divisor})", Sort.REAL)
    if left.sort is not Sort.INTEGER or right.sort is not Sort.INTEGER:
        raise Untranslatable(f"PostgreSQL computes {operator} by other rules")
    left_sql, right_sql = f"{left.sql}::numeric", f"{right.sql}::numeric"
    if operator == "/":
        return Operand(f"div({left_sql}, nullif({right_sql}, 0))", Sort.INTEGER)
    if operator == "%":
        return Operand(f"mod({left_sql}, nullif({right_sql}, 0))", Sort.INTEGER)
    return Operand(f"({left_sql} {operator} {right_sql})", Sort.INTEGER)


def _bits(operator: str, left: Operand, right: Operand) -> Operand:
    if left.sort is not Sort.INTEGER or right.sort is not Sort.INTEGER:
        raise Untranslatable(f"{operator} is translated for whole numbers only")
    if operator in {"<<", ">>"}:
        if not isinstance(right.literal, int) or not 0 <= right.literal <= _MOST_SHIFT:
            raise Untranslatable("PostgreSQL shifts bits by other rules")
        return Operand(f"(({left.sql})::bigint {operator} {right.literal})", Sort.INTEGER)
    return Operand(f"(({left.sql})::bigint {operator} ({right.sql})::bigint)", Sort.INTEGER)


def _of_one_sort(operands: Sequence[Operand]) -> tuple[list[Operand], Sort]:
    """Return operands converted to a common sort, and that sort; raise Untranslatable if there is none."""
    sorts = {operand.sort for operand in operands} - {Sort.NOTHING}
    if sorts == {Sort.INTEGER, Sort.TRUTH}:
        return [number(operand) for operand in operands], Sort.INTEGER
    if len(sorts) != 1 or Sort.OTHER in sorts:
        raise Untranslatable("its values are of several types")
    if Sort.INTEGER in sorts:
        operands = [
            replace(operand, sql=f"{operand.sql}::numeric") if operand.sort is Sort.INTEGER else operand
            for operand in operands
        ]
    return list(operands), sorts.pop()


def _least(node: Node) -> float:
    """Return a lower bound of a number, as far as the form of its expression shows one."""
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
    """Translate a GLOB pattern into a regular expression (SQLite, "The LIKE, GLOB, REGEXP … operators")."""
    parts = re.compile(r"\*|\?|\[\^?\]?[^\]]*\]|\[|[^*?\[]+", re.DOTALL).findall(pattern)
    return f"^(?:{''.join(map(_glob_part, parts))})$"


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
