"""PostgreSQL's enumerations. The source's text has to be exactly one of the labels."""

import pgpq.encoders

from migrator.names import quote_literal
from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, one_column, only_array, stored_as
from migrator.types.problem import Problem, ProblemCode


def problems(expression: str, column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse values that are not text, and text that is none of the labels."""
    labels = ", ".join(quote_literal(label) for label in column.enum_labels)
    shown = ", ".join(column.enum_labels)
    return (
        stored_as(expression, StorageClass.TEXT),
        Problem(
            ProblemCode.NOT_A_LABEL,
            f"is no label of {column.declared} ({shown})",
            f"typeof({expression}) = 'text' AND {expression} COLLATE BINARY NOT IN ({labels})",
        ),
    )


ENUMS = TypeFamily(
    "enums",
    frozenset(),  # chosen by the column's labels, not by a type name
    scan_columns=one_column(StorageClass.TEXT),
    problems=problems,
    convert=only_array,
    encoder=pgpq.encoders.StringEncoderBuilder,
)
