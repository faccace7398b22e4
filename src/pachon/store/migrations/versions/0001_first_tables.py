"""First tables: runs, steps, leases, machines, allocations, receipts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("facility", sa.String(80), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("user", sa.String(80), nullable=False),
        sa.Column("fencing_token", sa.Integer, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String(20)),
    )
    _create_steps()
    op.create_table(
        "leases",
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("fencing_token", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("holder", sa.JSON, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True)),
    )
    _create_hardware()


def _create_steps() -> None:
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("address", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(80), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.Column("fencing_token", sa.Integer, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String(20)),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("steps_by_address", "steps", ["site", "address", "id"])


def _create_hardware() -> None:
    op.create_table(
        "machines",
        sa.Column("serial", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("address", sa.String(200), nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.Column("bmc_tls_sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "allocations",
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("host", sa.String(80), primary_key=True),
        sa.Column("pool", sa.String(80), nullable=False),
        sa.Column("machine", sa.String(80), nullable=False, unique=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("address", sa.String(200), primary_key=True),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.Column("inputs_digest", sa.String(80), nullable=False),
        sa.Column("observed_digest", sa.String(80), nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("receipts", "allocations", "machines", "leases", "steps", "runs"):
        op.drop_table(table)
