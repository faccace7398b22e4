"""The tables of the store, as SQLAlchemy Core sees them. ``migrations`` holds how a database came to have them."""

from sqlalchemy import JSON, Column, DateTime, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

HEAD = "0001"
"""The migration that leads to these tables; a test compares the two."""

runs = Table(
    "runs",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("facility", String(80), nullable=False),
    Column("site", String(80), nullable=False),
    Column("command", Text, nullable=False),
    Column("user", String(80), nullable=False),
    Column("fencing_token", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", String(20)),
)

steps = Table(
    "steps",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(40), nullable=False),
    Column("site", String(80), nullable=False),
    Column("address", String(200), nullable=False),
    Column("kind", String(80), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("generation", String(64), nullable=False),
    Column("fencing_token", Integer, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("intended_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", String(20)),
    Column("message", Text, nullable=False, default=""),
    Index("steps_by_address", "site", "address", "id"),
)

leases = Table(
    "leases",
    METADATA,
    Column("site", String(80), primary_key=True),
    Column("fencing_token", Integer, nullable=False),
    Column("run_id", String(40), nullable=False),
    Column("holder", JSON, nullable=False),
    Column("command", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("heartbeat_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("released_at", DateTime(timezone=True)),
)

machines = Table(
    "machines",
    METADATA,
    Column("serial", String(80), primary_key=True),
    Column("site", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("address", String(200), nullable=False, default=""),
    Column("generation", String(64), nullable=False, default=""),
    Column("bmc_tls_sha256", String(64), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("since", DateTime(timezone=True), nullable=False),
)

allocations = Table(
    "allocations",
    METADATA,
    Column("site", String(80), primary_key=True),
    Column("host", String(80), primary_key=True),
    Column("pool", String(80), nullable=False),
    Column("machine", String(80), nullable=False, unique=True),
    Column("at", DateTime(timezone=True), nullable=False),
)

receipts = Table(
    "receipts",
    METADATA,
    Column("address", String(200), primary_key=True),
    Column("run_id", String(40), nullable=False),
    Column("generation", String(64), nullable=False, default=""),
    Column("inputs_digest", String(80), nullable=False),
    Column("observed_digest", String(80), nullable=False, default=""),
    Column("document", JSON, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
