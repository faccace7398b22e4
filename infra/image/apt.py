"""Reads where this machine's own apt gets Debian from, so that no mirror is named anywhere else."""

from datetime import timedelta

from pachon.drivers.program import call
from pachon.errors import MissingError

FORMAT = "$(SITE) $(RELEASE) $(COMPONENT)"


def sources(suite: str) -> tuple[str, ...]:
    """``deb`` lines of the suite, its updates and its security updates, as configured here.

    Raises:
        MissingError: this machine's apt does not know the suite.
    """
    said = call(
        ["apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages"], timeout=timedelta(minutes=1)
    ).stdout
    return parse(said, suite)


def parse(listing: str, suite: str) -> tuple[str, ...]:
    """The lines out of what ``apt-get indextargets`` printed with ``FORMAT``."""
    releases = (suite, f"{suite}-updates", f"{suite}-security")
    found = []
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in releases and words[2] == "main":
            found.append("deb {} {} {}".format(*words))
    lines = tuple(dict.fromkeys(found))
    if not any(line.split()[2] == suite for line in lines):
        raise MissingError(
            f"apt on this machine has no source for Debian {suite}",
            cure=f"add one under /etc/apt/sources.list.d with suite {suite} and component main",
        )
    return lines
