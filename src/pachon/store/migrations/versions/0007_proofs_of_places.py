"""Proofs of releases are of places, not of sites: those of places where the release is still in force are kept."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table anew, with the enclave."""
    kept = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT p.service, p.digest, p.site, f.enclave, p.rollout, p.at FROM release_proofs p "
                "JOIN releases_in_force f ON f.service = p.service AND f.digest = p.digest AND f.site = p.site"
            ).columns(at=sa.DateTime(timezone=True))
        )
        .mappings()
        .all()
    )
    op.drop_table("release_proofs")
    made = op.create_table("release_proofs", *_columns("service", "digest", "site", "enclave"))
    op.bulk_insert(made, [dict(row) for row in kept])


def downgrade() -> None:
    """Make it anew without; what was proven has to be so again."""
    op.drop_table("release_proofs")
    op.create_table("release_proofs", *_columns("service", "digest", "site"))


def _columns(*keys: str) -> list[sa.Column[Any]]:
    return [
        *(sa.Column(key, sa.String(80), primary_key=True) for key in keys),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    ]
