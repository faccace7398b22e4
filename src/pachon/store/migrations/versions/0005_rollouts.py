"""Rollouts: what is wanted of them, steps, words of the Observatory, releases, proofs, holds, what is in force."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    _create_rollouts()
    _create_releases()


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("service", sa.String(80), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("from_version", sa.String(80), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("wanted", sa.String(20), nullable=False),
        sa.Column("wanted_by", sa.String(255), nullable=False),
        sa.Column("wanted_why", sa.Text, nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waits", sa.Text, nullable=False),
        sa.Column("waits_since", sa.DateTime(timezone=True)),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String(20)),
    )
    op.create_index("rollouts_by_service", "rollouts", ["service", "started_at"])
    op.create_table(
        "rollout_steps",
        sa.Column("rollout", sa.String(40), primary_key=True),
        sa.Column("way", sa.String(10), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.String(200), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String(20)),
        sa.Column("evidence", sa.JSON, nullable=False),
    )
    op.create_table(
        "rollout_words",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("rollout_words_by_rollout", "rollout_words", ["rollout", "id"])


def _create_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("service", sa.String(80), primary_key=True),
        sa.Column("version", sa.String(80), primary_key=True),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "release_proofs",
        sa.Column("service", sa.String(80), primary_key=True),
        sa.Column("digest", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "release_holds",
        sa.Column("service", sa.String(80), primary_key=True),
        sa.Column("version", sa.String(80), primary_key=True),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True)),
        sa.Column("lifted_by", sa.String(255)),
        sa.Column("lifted_why", sa.Text),
    )
    op.create_table(
        "releases_in_force",
        sa.Column("service", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("enclave", sa.String(80), primary_key=True),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("releases_in_force", "release_holds", "release_proofs", "releases"):
        op.drop_table(table)
    for table in ("rollout_words", "rollout_steps", "rollouts"):
        op.drop_table(table)
