"""
Documents and their chunks.

Revision ID: 0002
Revises: 0001
Created: 2024-05-21 14:03:11+00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

type_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create ``documents`` and ``document_chunks``."""
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("source_uri", sa.Text()),
        sa.Column("mime_type", sa.String(127), nullable=False),
        sa.Column(
            "status",
            sa.Enum("pending", "in review", "ready", "failed", name="document_status"),
            server_default=sa.text("'pending'"),
            nullable=False,
        ),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.LargeBinary(32)),
        sa.Column("body", sa.Text()),
        sa.Column("metadata", type_json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("language", sa.String(35)),
        sa.Column("published_on", sa.Date()),
        sa.Column("is_public", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_documents_owner_id_users"), ondelete="RESTRICT"
        ),
        sa.UniqueConstraint("owner_id", "checksum", name=op.f("uq_documents_owner_id_checksum")),
    )
    op.create_index(op.f("idx_documents_owner_id"), "documents", ["owner_id"])
    op.create_index("idx_documents_metadata", "documents", ["metadata"], postgresql_using="gin")

    op.create_table(
        "document_chunks",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("token_count", sa.Integer(), nullable=False),
        sa.Column("start_offset", sa.BigInteger(), nullable=False),
        sa.Column("embedding", sa.LargeBinary()),
        sa.Column("embedding_norm", sa.Float()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", "chunk_index", name=op.f("pk_document_chunks")),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_document_chunks_document_id_documents"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Drop both tables, and on PostgreSQL the enum type."""
    op.drop_table("document_chunks")
    op.drop_table("documents")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TYPE document_status")
