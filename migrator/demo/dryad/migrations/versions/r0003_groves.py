"""
Groves, branches, vessels and dialogues.

Revision ID: 0003
Revises: 0002
Created: 2024-09-02 07:45:00+00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

type_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
type_counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the five tables, each after the tables that it refers to."""
    _create_groves()
    _create_branches()
    _create_vessels()
    _create_dialogues()
    _create_dialogue_messages()


def _create_groves() -> None:
    op.create_table(
        "groves",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("slug", sa.String(200), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column(
            "visibility",
            sa.Enum("private", "shared", "public", name="grove_visibility"),
            server_default=sa.text("'private'"),
            nullable=False,
        ),
        sa.Column("settings", type_json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("founded_on", sa.Date()),
        sa.Column("quiet_from", sa.Time()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groves")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_groves_owner_id_users"), ondelete="CASCADE"),
        sa.UniqueConstraint("owner_id", "slug", name=op.f("uq_groves_owner_id_slug")),
    )


def _create_branches() -> None:
    op.create_table(
        "branches",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("grove_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Integer()),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("5"), nullable=False),
        sa.Column("weight", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("score", sa.Numeric(15, 9)),
        sa.Column("observation", type_json),
        sa.Column("is_merged", sa.Boolean()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branches")),
        sa.ForeignKeyConstraint(
            ["grove_id"], ["groves.id"], name=op.f("fk_branches_grove_id_groves"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["branches.id"], name=op.f("fk_branches_parent_id_branches"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("grove_id", "name", name=op.f("uq_branches_grove_id_name")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("ck_branches_priority_is_a_digit")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_branches_parent_is_another")),
    )
    op.create_index(op.f("idx_branches_parent_id"), "branches", ["parent_id"])


def _create_vessels() -> None:
    op.create_table(
        "vessels",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Enum("memory", "toolbox", "archive", name="vessel_kind"), nullable=False),
        sa.Column("storage_path", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary()),
        sa.Column("manifest", type_json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger()),
        sa.Column("fill_ratio", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("price", sa.Numeric(9, 4)),
        sa.Column("expires_on", sa.Date()),
        sa.Column("sealed_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vessels")),
        sa.ForeignKeyConstraint(
            ["branch_id"], ["branches.id"], name=op.f("fk_vessels_branch_id_branches"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("branch_id", name=op.f("uq_vessels_branch_id")),
        sa.CheckConstraint("fill_ratio >= 0 AND fill_ratio <= 1", name=op.f("ck_vessels_fill_ratio_is_a_part")),
    )


def _create_dialogues() -> None:
    op.create_table(
        "dialogues",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("vessel_id", sa.String(36)),
        sa.Column("opened_by", sa.String(36)),
        sa.Column("topic", sa.String(300), nullable=False),
        sa.Column(
            "state",
            sa.Enum("open", "paused", "closed", name="dialogue_state"),
            server_default=sa.text("'open'"),
            nullable=False,
        ),
        sa.Column("parameters", type_json),
        sa.Column("summary", sa.Text()),
        sa.Column("wall_clock", sa.DateTime()),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogues")),
        sa.ForeignKeyConstraint(
            ["branch_id"], ["branches.id"], name=op.f("fk_dialogues_branch_id_branches"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["vessel_id"], ["vessels.id"], name=op.f("fk_dialogues_vessel_id_vessels"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["opened_by"], ["users.id"], name=op.f("fk_dialogues_opened_by_users"), ondelete="SET NULL"
        ),
    )
    op.create_index(op.f("idx_dialogues_branch_id"), "dialogues", ["branch_id"])
    op.create_index(op.f("idx_dialogues_vessel_id"), "dialogues", ["vessel_id"])
    op.create_index(op.f("idx_dialogues_opened_by"), "dialogues", ["opened_by"])
    op.create_index("idx_dialogues_state_started_at", "dialogues", ["state", "started_at"])


def _create_dialogue_messages() -> None:
    op.create_table(
        "dialogue_messages",
        sa.Column("id", type_counted, nullable=False),
        sa.Column("dialogue_id", sa.Uuid(), nullable=False),
        sa.Column("speaker", sa.Enum("human", "gremlin", "oracle", name="speaker"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tool_calls", type_json),
        sa.Column("confidence", sa.Float()),
        sa.Column("audio", sa.LargeBinary()),
        sa.Column("spoken_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogue_messages")),
        sa.ForeignKeyConstraint(
            ["dialogue_id"],
            ["dialogues.id"],
            name=op.f("fk_dialogue_messages_dialogue_id_dialogues"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("idx_dialogue_messages_dialogue_id"), "dialogue_messages", ["dialogue_id"])


def downgrade() -> None:
    """Drop the five tables, and on PostgreSQL their enum types."""
    for table in ("dialogue_messages", "dialogues", "vessels", "branches", "groves"):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        for enum in ("speaker", "dialogue_state", "vessel_kind", "grove_visibility"):
            op.execute(f"DROP TYPE {enum}")
