"""Campaigns and pipelines as people write them: closed types, the source of two of the schemas in ``inventory/schema``.

What they come to for a facility is said in ``pachon.batch``.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema

from pachon.definition.written import WHAT_MATCHES, Name, Text, Written

NUMBERS = r"^[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*$"
VERSION = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}$"
SHA256 = r"^[0-9a-f]{64}$"
CALL = r"^[a-z][a-z0-9_]{0,39}:[a-z][a-z0-9_]{0,39}$"
SETTING = r"^[a-z][a-z0-9_]{0,39}$"
PRODUCT = r"^[a-z][a-z0-9]{0,9}$"

WHAT_MATCHES.update(
    {
        NUMBERS: "numbers and ranges with commas, such as 0-3 or 1-5,9",
        VERSION: "three numbers with dots, such as 1.0.0",
        SHA256: "64 lower-case hexadecimal digits",
        CALL: "a module and a function of it, such as combine:bias",
        SETTING: "lower-case letters, digits and underscores, beginning with a letter",
        PRODUCT: "the end of a file's name without its dot, such as fits",
    }
)


def _written_out(value: object) -> object:
    """A single number is written without quotes, and YAML takes it for one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _whole_or_fraction(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is no number; write a number, such as 5 or 0.5")
    return value


Numbers = Annotated[
    str,
    BeforeValidator(_written_out),
    Field(pattern=NUMBERS),
    WithJsonSchema({"type": ["string", "integer"], "pattern": NUMBERS}, mode="validation"),
]
Version = Annotated[str, Field(pattern=VERSION)]
Setting = Annotated[
    int | float, BeforeValidator(_whole_or_fraction), WithJsonSchema({"type": "number"}, mode="validation")
]


class WrittenPinned(Written):
    """Detectors that are processed at one site and no other."""

    site: Name
    """Site that processes them."""
    detectors: Numbers
    """Their numbers, such as ``0-1``."""


class WrittenCoverage(Written):
    """What a campaign covers: these exposures of these detectors."""

    detectors: Numbers
    """Numbers of the detectors, such as ``0-3``."""
    exposures: Annotated[dict[Name, Numbers], Field(min_length=1)]
    """Numbers of the exposures of each kind that the pipeline takes, such as ``bias: 1-5``."""
    sites: tuple[Name, ...] = ()
    """Sites that process them; none written means every site with workers. Detectors are dealt out evenly."""
    pinned: tuple[WrittenPinned, ...] = ()
    """Detectors that are not dealt out but stay at a site."""


class WrittenCampaign(Written):
    """A campaign: a pipeline over a coverage set, with its order and priority."""

    name: Name
    """Its name, once in the facility; products and the report are kept under it."""
    title: Text
    """What it is for."""
    pipeline: Name
    """Name of the pipeline."""
    version: Version
    """Version of the pipeline: a released one."""
    priority: Annotated[int, Field(strict=True, ge=1, le=9)] = 5
    """From 1 (may wait) to 9 (before all others); it is the quality of service of its jobs."""
    order: Annotated[tuple[Literal["detector", "exposure"], ...], Field(min_length=1)] = ("detector", "exposure")
    """What counts first when quanta are put in order."""
    quanta_per_job: Annotated[int, Field(strict=True, ge=1, le=1000)] = 8
    """How many quanta one job carries out, one after the other."""
    tries: Annotated[int, Field(strict=True, ge=1, le=10)] = 3
    """How often a quantum may fail before the campaign gives it up."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] = 0
    """Of everything that is generated; the same seed gives the same products."""
    with_up: StrictBool = False
    """Whether 'pachon up' runs it once the facility is up; one campaign of a facility may be run so."""
    coverage: WrittenCoverage
    """What it covers."""


class WrittenTask(Written):
    """One task of a pipeline."""

    name: Name
    """Its name."""
    title: Text
    """What it makes."""
    step: Name
    """Tasks of one step share jobs: what depends on one another in a step is done by the same job."""
    call: Annotated[str, Field(pattern=CALL)]
    """Module and function of the pipeline's software, such as ``combine:bias``."""
    per: Literal["exposure", "detector"]
    """Whether it is done once for each exposure of each detector, or once for each detector."""
    exposures: Name | None = None
    """Kind of exposures that it is done for (only with ``per: exposure``)."""
    needs: tuple[Name, ...] = ()
    """Earlier tasks whose products of the same detector it reads."""
    products: Annotated[tuple[Annotated[str, Field(pattern=PRODUCT)], ...], Field(min_length=1)]
    """Files that it makes, by the end of their names; the first one is what other tasks read."""
    settings: dict[Annotated[str, Field(pattern=SETTING)], Setting] = Field(default_factory=dict)
    """Numbers that it is given."""
    deliver: StrictBool = False
    """Whether its products are fetched when the campaign is done."""


class WrittenPipeline(Written):
    """A pipeline of released software: which tasks there are, and what each needs."""

    name: Name
    """Its name, and that of the folder with its modules."""
    version: Version
    """Raised whenever anything of it changes."""
    title: Text
    """What it makes."""
    software: Annotated[str, Field(pattern=SHA256)]
    """Digest of its modules as this version was released with them."""
    walltime_minutes: Annotated[int, Field(strict=True, ge=1, le=1440)]
    """How long one job may take."""
    memory_mib: Annotated[int, Field(strict=True, ge=16, le=1 << 20)]
    """Memory that one job needs."""
    tasks: Annotated[tuple[WrittenTask, ...], Field(min_length=1)]
    """Its tasks; each stands after those that it needs."""


def numbers_of(text: str) -> tuple[int, ...]:
    """The numbers that ``0-3,7`` or the like stands for, each once, in order.

    Raises:
        ValueError: a range goes backwards.
    """
    found: set[int] = set()
    for part in re.split(",", text):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise ValueError(f"the range {part} goes backwards")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))
