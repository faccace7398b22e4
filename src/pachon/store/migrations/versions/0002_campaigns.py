"""Campaigns: what was asked of Slurm, under which token, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_table(
        "campaign_sites",
        sa.Column("campaign", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("condition", sa.String(20), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "campaign_quanta",
        sa.Column("campaign", sa.String(80), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("product", sa.JSON),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    _create_attempts()


def _create_attempts() -> None:
    op.create_table(
        "campaign_attempts",
        sa.Column("token", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("campaign", sa.String(80), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("step", sa.String(80), nullable=False),
        sa.Column("keys", sa.JSON, nullable=False),
        sa.Column("job_id", sa.Integer),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("campaign_attempts_by_site", "campaign_attempts", ["campaign", "site", "state"])
    op.create_table(
        "campaign_incidents",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("campaign", sa.String(80), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("keys", sa.JSON, nullable=False),
    )
    op.create_index("campaign_incidents_by_campaign", "campaign_incidents", ["campaign", "id"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("incidents", "attempts", "quanta", "sites"):
        op.drop_table(f"campaign_{table}")
    op.drop_table("campaigns")
