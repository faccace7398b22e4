"""``rollout.yaml`` and ``releases/<version>.yaml`` of a service's entry, as people write them: closed types."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from pachon.definition.campaigns import VERSION
from pachon.definition.written import WHAT_MATCHES, Group, Name, Text, Written
from pachon.definition.written_service import PROGRAM
from pachon.model.rollout import DIGEST, FIRST_SHARE_PERCENT, Day

WHERE = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?(/[a-z]([a-z0-9-]{0,38}[a-z0-9])?)?$"
WHOLE_DIGEST = f"^{DIGEST.pattern}$"
TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

WHAT_MATCHES.update(
    {
        WHERE: "a site, or a site and an enclave such as archive/us-dac",
        WHOLE_DIGEST: "sha256: and the 64 hexadecimal digits of what was built; a tag can come to mean something else",
        TIME_OF_DAY: "hours and minutes such as 09:00, in quotes",
    }
)

Percent = Annotated[int, Field(strict=True, ge=1, le=100)]
Seconds = Annotated[float, Field(gt=0, le=604_800)]
Minutes = Annotated[float, Field(gt=0, le=43_200)]


class WrittenArtefact(Written):
    """Something that the release is made of."""

    name: Name
    """What it is."""
    digest: Annotated[str, Field(pattern=WHOLE_DIGEST)]
    """Its digest, never a tag."""


class WrittenRelease(Written):
    """``releases/<version>.yaml``: one immutable version of a service; its name is the version."""

    kind: Literal["role", "kubernetes"]
    """``role``: roles make hosts run it; ``kubernetes``: a cluster does."""
    artefacts: Annotated[tuple[WrittenArtefact, ...], Field(min_length=1)]
    """All that it is started from."""
    arguments: dict[Group, dict[Group, str | StrictBool | int | float]] = Field(default_factory=dict)
    """Of each role, the arguments in which the release is expressed on hosts."""


class WrittenStrategy(Written):
    """How the new release takes the place of the old one."""

    kind: Literal["rolling", "canary", "blue-green"]
    """``rolling``: some instances at a time; ``canary``: growing shares of the requests; ``blue-green``: all of the new
    release beside all of the old one, then all requests."""
    at_once: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    """Of ``rolling``: so many instances at a time; 1 if left out."""
    shares_percent: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=20)] | None = None
    """Of ``canary``: the shares, growing; 5, 25, 50, 100 if left out."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.at_once is not None and self.kind != "rolling":
            raise ValueError(f"a {self.kind} rollout has no at_once; take it out")
        if self.shares_percent is not None:
            if self.kind != "canary":
                raise ValueError(f"a {self.kind} rollout has no shares_percent; take it out")
            if list(self.shares_percent) != sorted(set(self.shares_percent)):
                raise ValueError("shares_percent do not grow; write each larger than the one before")
        return self


class WrittenPace(Written):
    """How fast it goes."""

    first_share_percent: Annotated[int, Field(strict=True, ge=1, le=FIRST_SHARE_PERCENT)] | None = None
    """The share that a new release begins with; 5 if left out, and never more."""
    soak_seconds: Seconds | None = None
    """Each share is judged so long; 300 if left out."""
    check_seconds: Seconds | None = None
    """Gates are read so often; every 10 if left out."""
    start_seconds: Seconds | None = None
    """An instance that does not pass its contract after so long is a failure; 120 if left out."""
    mixed_minutes: Minutes | None = None
    """Two versions serve at one place for so long at most; 120 if left out."""
    least_serving: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """So many instances serve at any moment; 1 if left out."""


class WrittenWave(Written):
    """Places that come together."""

    name: Name
    """Its name."""
    places: Annotated[tuple[Annotated[str, Field(pattern=WHERE)], ...], Field(min_length=1)]
    """Each a site, or ``<site>/<enclave>``."""
    after: tuple[Name, ...] = ()
    """Waves that have to be proven first."""


class WrittenGate(Written):
    """What has to hold for the rollout to go on."""

    name: Name
    """Its name."""
    kind: Literal["health", "smoke", "query"]
    """``health``: a probe of the service; ``smoke``: a program that uses it as a user would; ``query``: Prometheus."""
    probe: Name | None = None
    """Of ``health``: the probe's name in ``service.yaml``."""
    command: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20)] | None = None
    """Of ``smoke``: the program with its absolute path, then its arguments; ``{address}`` is where the service is."""
    query: Text | None = None
    """Of ``query``: PromQL; ``{site}``, ``{enclave}``, ``{service}`` and ``{version}`` (the new one) are put in, and
    for what roles make hosts run ``{servers}``: a pattern of the new one's servers at front doors."""
    at_most: float | None = None
    """Of ``query``: the value is at most this."""
    at_least: float | None = None
    """Of ``query``: the value is at least this."""
    trips_after: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """Of ``query``: so many looks one after another on the wrong side shut the gate; 2 if left out."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        must = {"health": {"probe"}, "smoke": {"command"}, "query": {"query"}}[self.kind]
        may = {"at_most", "at_least", "trips_after"} if self.kind == "query" else set()
        written = {key for key in self.model_fields_set - {"name", "kind"} if getattr(self, key) is not None}
        if lacking := sorted(must - written):
            raise ValueError(f"the gate {self.name} is of kind {self.kind} and has no {lacking[0]}; add {lacking[0]}")
        if strange := sorted(written - must - may):
            raise ValueError(f"a gate of kind {self.kind} has no {strange[0]}; take {strange[0]} out of {self.name}")
        if self.kind == "query" and not written & {"at_most", "at_least"}:
            raise ValueError(f"the gate {self.name} has no threshold; add at_most or at_least")
        if self.command is not None and not self.command[0].startswith("/"):
            raise ValueError(f"the command {self.command[0]} has no absolute path; write {WHAT_MATCHES[PROGRAM]}")
        return self


class WrittenWindow(Written):
    """When a wave may begin."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)]
    """Days of the week."""
    opens: Annotated[str, Field(pattern=TIME_OF_DAY)]
    """From this time of day."""
    closes: Annotated[str, Field(pattern=TIME_OF_DAY)]
    """To this one, later on the same day; what begins has to be over by then."""
    clock: Literal["site", "utc"]
    """``site``: the time of day at the site where the wave is; ``utc``."""

    @model_validator(mode="after")
    def _closes_later(self) -> Self:
        if self.closes <= self.opens:
            raise ValueError(f"the window closes at {self.closes}, before it opens; write two windows across midnight")
        return self


class WrittenRollout(Written):
    """``rollout.yaml``: how releases of the service take each other's place."""

    first: Annotated[str, Field(pattern=VERSION)] | None = None
    """The release that stands where nothing was ever rolled out."""
    strategy: WrittenStrategy
    """How it is done at each place."""
    pace: WrittenPace = Field(default_factory=WrittenPace)
    """How fast, and for how long two versions may stand side by side."""
    side_by_side: StrictBool
    """Whether a host can carry an instance of each of two versions at once."""
    waves: Annotated[tuple[WrittenWave, ...], Field(min_length=1)]
    """In which order places come; every place of the service is in one."""
    gates: Annotated[tuple[WrittenGate, ...], Field(min_length=1)]
    """What has to hold; one of them at least is a health contract."""
    windows: tuple[WrittenWindow, ...] = ()
    """When waves may begin; none written: at any time."""
