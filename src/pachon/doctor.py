"""What a machine has and lacks for Pachon, as a list of findings that names a cure for each lack.

Pure: the facts come in as a value (``infra.toolchain.machine`` observes them), so any machine can be judged anywhere.
"""

from datetime import datetime
from typing import Literal

from pachon.model.base import Frozen

Blocks = Literal["all", "lab", "tests"]
Virtualenv = Literal["current", "stale", "missing"]

LEAST_INOTIFY_INSTANCES = 1024
LEAST_DISK_BYTES = 20 << 30
LEAST_DISK_WITH_PROGRAMS_BYTES = 10 << 30
LEAST_MEMORY_BYTES = 6 << 30
CODE_WRITTEN = datetime.fromisoformat("2026-11-01T00:00:00+00:00")
"""No true clock can be before the code was written."""


class Finding(Frozen):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    needed: str
    cure: str = ""
    """What a person does next; empty where all is well."""
    blocks: Blocks = "all"
    """What does not work without: anything at all, the real lab (the twin still does), or only some tests."""


class ProgramFact(Frozen):
    """A program from outside, as it is here."""

    name: str
    needed_version: str
    found: str
    """Where it is and in which version; empty if it is not there in that version."""


class PackageFact(Frozen):
    """A Debian package of which something is not there."""

    name: str
    absent: tuple[str, ...]
    purpose: str


class FeatureFact(Frozen):
    """A kernel feature that was tried, as only root can."""

    name: str
    lack: str
    """Why it cannot be used; empty if it can."""


class Facts(Frozen):
    """What was observed of a machine."""

    python: tuple[int, ...]
    root: bool
    apt: bool
    virtualenv: Virtualenv
    """``.venv``: whether it is there, and was made from pyproject.toml and requirements.lock as they are now."""
    programs: tuple[ProgramFact, ...]
    packages_absent: tuple[PackageFact, ...]
    features: tuple[FeatureFact, ...]
    """Empty without root."""
    inotify_instances: int
    """fs.inotify.max_user_instances."""
    cache_path: str
    cache_bytes: int
    disk_free_bytes: int
    """On the file system of the cache."""
    memory_available_bytes: int
    now: datetime
    lab_lacks: tuple[str, ...]
    """The lab's own list; empty if it lacks nothing."""


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All that was looked at, in the order in which a person would mend it."""
    return (
        _python(facts),
        _virtualenv(facts),
        *(_program(program) for program in facts.programs),
        *_packages(facts),
        _root(facts),
        *(_feature(feature) for feature in facts.features),
        *_lab(facts),
        _inotify(facts),
        _disk(facts),
        _memory(facts),
        _clock(facts),
    )


def lacks(found: tuple[Finding, ...], blocks: Blocks) -> tuple[Finding, ...]:
    """Those of the findings that keep that from working; what blocks all blocks the lab and tests too."""
    return tuple(finding for finding in found if not finding.ok and finding.blocks in {"all", blocks})


def _python(facts: Facts) -> Finding:
    ok = facts.python >= (3, 11)
    return Finding(
        name="python",
        ok=ok,
        found=".".join(str(number) for number in facts.python) or "none",
        needed="/usr/bin/python3, 3.11 or newer",
        cure="" if ok else "use Debian 12 or newer, or install Python 3.11 as /usr/bin/python3",
    )


def _virtualenv(facts: Facts) -> Finding:
    ok = facts.virtualenv == "current"
    found = {
        "current": "as requirements.lock says",
        "stale": "those of before pyproject.toml or requirements.lock changed",
        "missing": "no .venv, or one that was not finished",
    }
    return Finding(
        name="python packages",
        ok=ok,
        found=found[facts.virtualenv],
        needed="requirements.lock in .venv",
        cure="" if ok else "'make setup'",
    )


def _program(program: ProgramFact) -> Finding:
    ok = bool(program.found)
    return Finding(
        name=program.name,
        ok=ok,
        found=program.found or "not there in that version",
        needed=program.needed_version,
        cure="" if ok else f"'make setup' finds, fetches or builds it; or put {program.name} on PATH in that version",
    )


def _packages(facts: Facts) -> tuple[Finding, ...]:
    if not facts.packages_absent:
        return (Finding(name="debian packages", ok=True, found="all there", needed="all", blocks="lab"),)
    here = "'make setup' installs it" if facts.root and facts.apt else f"{'as root: ' if facts.apt else ''}install it"
    return tuple(
        Finding(
            name=f"package {package.name}",
            ok=False,
            found=f"no {', '.join(package.absent)}",
            needed=package.purpose,
            cure=here if facts.apt else f"install what Debian calls {package.name}",
            blocks="lab",
        )
        for package in facts.packages_absent
    )


def _root(facts: Facts) -> Finding:
    return Finding(
        name="root",
        ok=facts.root,
        found="yes" if facts.root else "no",
        needed="yes, for the lab's namespaces and loop devices",
        cure="" if facts.root else "run as root for the real lab; as you are, 'make up' brings up its twin",
        blocks="lab",
    )


def _feature(feature: FeatureFact) -> Finding:
    ok = not feature.lack
    return Finding(
        name=f"kernel: {feature.name}",
        ok=ok,
        found=feature.lack or "yes",
        needed="yes",
        cure="" if ok else "use a kernel (or a container runtime) that allows it; the twin does without",
        blocks="lab",
    )


def _lab(facts: Facts) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            name="lab",
            ok=False,
            found=lack,
            needed="nothing missing",
            cure="mend that for the real lab; until then 'make up' brings up its twin",
            blocks="lab",
        )
        for lack in facts.lab_lacks
    )


def _inotify(facts: Facts) -> Finding:
    enough = facts.inotify_instances >= LEAST_INOTIFY_INSTANCES
    would = "; the lab raises it as far as its machines need, and touches no other kernel setting"
    return Finding(
        name="fs.inotify.max_user_instances",
        ok=enough or facts.root,
        found=f"{facts.inotify_instances}{would if facts.root and not enough else ''}",
        needed=f"{LEAST_INOTIFY_INSTANCES} for a large lab (every machine takes about ten)",
        cure="" if enough or facts.root else f"as root: sysctl fs.inotify.max_user_instances={LEAST_INOTIFY_INSTANCES}",
        blocks="lab",
    )


def _disk(facts: Facts) -> Finding:
    built = all(program.found for program in facts.programs)
    least = LEAST_DISK_WITH_PROGRAMS_BYTES if built else LEAST_DISK_BYTES
    ok = facts.disk_free_bytes >= least
    return Finding(
        name="disk",
        ok=ok,
        found=f"{_gib(facts.disk_free_bytes)} free beside {facts.cache_path}, which holds {_gib(facts.cache_bytes)}",
        needed=f"{_gib(least)} free",
        cure="" if ok else f"free some, or move the cache by PACHON_CACHE; {facts.cache_path} may be removed any time",
    )


def _memory(facts: Facts) -> Finding:
    ok = facts.memory_available_bytes >= LEAST_MEMORY_BYTES
    return Finding(
        name="memory",
        ok=ok,
        found=f"{_gib(facts.memory_available_bytes)} available",
        needed=_gib(LEAST_MEMORY_BYTES),
        cure="" if ok else "end what takes it, or bring up a facility with fewer machines",
        blocks="lab",
    )


def _clock(facts: Facts) -> Finding:
    ok = facts.now >= CODE_WRITTEN
    return Finding(
        name="clock",
        ok=ok,
        found=facts.now.isoformat(timespec="seconds"),
        needed=f"a time after {CODE_WRITTEN:%Y-%m-%d}, when this code was written",
        cure="" if ok else "set the clock: certificates made now would be valid at the wrong time",
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB"
