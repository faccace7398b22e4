"""Where a run ran, as which process, and a quick way to its steps."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("runs", sa.Column("controller", sa.String(255)))
    op.add_column("runs", sa.Column("process", sa.String(80)))
    op.create_index("steps_by_run", "steps", ["run_id", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("steps_by_run", "steps")
    op.drop_column("runs", "process")
    op.drop_column("runs", "controller")
