"""The tables of the store, as SQLAlchemy Core sees them. ``migrations`` holds how a database came to have them."""

from sqlalchemy import JSON, Column, DateTime, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

HEAD = "0007"
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
    Column("controller", String(255)),
    Column("process", String(80)),
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
    Index("steps_by_run", "run_id", "id"),
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

campaigns = Table(
    "campaigns",
    METADATA,
    Column("name", String(80), primary_key=True),
    Column("title", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("document", JSON, nullable=False),
)

campaign_sites = Table(
    "campaign_sites",
    METADATA,
    Column("campaign", String(80), primary_key=True),
    Column("site", String(80), primary_key=True),
    Column("condition", String(20), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
)

campaign_quanta = Table(
    "campaign_quanta",
    METADATA,
    Column("campaign", String(80), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("site", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("product", JSON),
    Column("since", DateTime(timezone=True), nullable=False),
)

campaign_attempts = Table(
    "campaign_attempts",
    METADATA,
    Column("token", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("campaign", String(80), nullable=False),
    Column("site", String(80), nullable=False),
    Column("step", String(80), nullable=False),
    Column("keys", JSON, nullable=False),
    Column("job_id", Integer),
    Column("state", String(20), nullable=False),
    Column("host", String(200), nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("intended_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Index("campaign_attempts_by_site", "campaign", "site", "state"),
)

campaign_incidents = Table(
    "campaign_incidents",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("campaign", String(80), nullable=False),
    Column("site", String(80), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("host", String(200), nullable=False),
    Column("message", Text, nullable=False),
    Column("keys", JSON, nullable=False),
    Index("campaign_incidents_by_campaign", "campaign", "id"),
)

sightings = Table(
    "sightings",
    METADATA,
    Column("host", String(80), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
)

rollouts = Table(
    "rollouts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("service", String(80), nullable=False),
    Column("version", String(80), nullable=False),
    Column("from_version", String(80), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("by", String(80), nullable=False),
    Column("why", Text, nullable=False),
    Column("wanted", String(20), nullable=False),
    Column("wanted_by", String(255), nullable=False),
    Column("wanted_why", Text, nullable=False),
    Column("wanted_at", DateTime(timezone=True), nullable=False),
    Column("waits", Text, nullable=False),
    Column("waits_since", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", String(20)),
    Index("rollouts_by_service", "service", "started_at"),
)

rollout_steps = Table(
    "rollout_steps",
    METADATA,
    Column("rollout", String(40), primary_key=True),
    Column("way", String(10), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", String(200), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run_id", String(40), nullable=False),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", String(20)),
    Column("evidence", JSON, nullable=False),
)

rollout_words = Table(
    "rollout_words",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rollout", String(40), nullable=False),
    Column("document", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("rollout_words_by_rollout", "rollout", "id"),
)

releases = Table(
    "releases",
    METADATA,
    Column("service", String(80), primary_key=True),
    Column("version", String(80), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("document", JSON, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

release_proofs = Table(
    "release_proofs",
    METADATA,
    Column("service", String(80), primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("site", String(80), primary_key=True),
    Column("enclave", String(80), primary_key=True),
    Column("rollout", String(40), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

release_holds = Table(
    "release_holds",
    METADATA,
    Column("service", String(80), primary_key=True),
    Column("version", String(80), primary_key=True),
    Column("why", Text, nullable=False),
    Column("by", String(255), nullable=False),
    Column("rollout", String(40), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("lifted_at", DateTime(timezone=True)),
    Column("lifted_by", String(255)),
    Column("lifted_why", Text),
)

releases_in_force = Table(
    "releases_in_force",
    METADATA,
    Column("service", String(80), primary_key=True),
    Column("site", String(80), primary_key=True),
    Column("enclave", String(80), primary_key=True),
    Column("version", String(80), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("rollout", String(40), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)

instance_versions = Table(
    "instance_versions",
    METADATA,
    Column("service", String(80), primary_key=True),
    Column("site", String(80), primary_key=True),
    Column("enclave", String(80), primary_key=True),
    Column("host", String(80), primary_key=True),
    Column("slot", String(10), primary_key=True),
    Column("version", String(80), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("run_id", String(40), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)
