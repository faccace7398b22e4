"""Which version each slot of a host is to have."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "instance_versions",
        sa.Column("service", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(80), primary_key=True),
        sa.Column("enclave", sa.String(80), primary_key=True),
        sa.Column("host", sa.String(80), primary_key=True),
        sa.Column("slot", sa.String(10), primary_key=True),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("instance_versions")
