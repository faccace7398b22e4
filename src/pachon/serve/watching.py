"""The watch of a site: rounds in a steady rhythm, and what began or ended between one round and the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pachon.layers.served import Known
from pachon.layers.sight import Asked, Sight, address_of
from pachon.model.facility import HostName
from pachon.model.manifest import Difference
from pachon.serve.events import What

LONGEST_PAUSE = timedelta(minutes=5)
"""After which a host that does not answer is tried again at the latest."""


@dataclass(frozen=True)
class Silence:
    """A host that does not answer."""

    why: str
    since: datetime
    tries: int
    again_at: datetime


@dataclass(frozen=True)
class Change:
    """Something began or ended."""

    event: What
    address: str
    message: str


@dataclass
class Watch:
    """What is known of a site from round to round. ``every`` is the pause between two rounds."""

    every: timedelta
    sight: Sight = field(default_factory=Sight)
    at: datetime | None = None
    silent: dict[HostName, Silence] = field(default_factory=dict)

    def due(self, asked: Asked, now: datetime) -> Asked:
        """The hosts to be asked now: those that were silent for some rounds are asked less and less often."""
        waiting = {name for name, each in self.silent.items() if each.again_at > now}
        return asked.only([name for name in asked.roles if name not in waiting])

    def took(
        self, asked: Asked, seen: Sight, *, all_of: Asked, expects: Callable[[Difference], bool], now: datetime
    ) -> list[Change]:
        """What changed with this round, in which ``asked`` of all hosts were asked.

        ``expects`` says whether anything is expected any more where something differed.
        """
        gone = [name for name in {*self.silent, *_hosts(self.sight)} if name not in all_of.roles]
        before = _by_key(self.sight)
        # Of a host that does not answer it is not known whether what differed still does: that stays as it was. So it
        # does where a silent one was not asked at all, since nothing is expected there while its roles are begun.
        unknown = set(seen.unanswered) | (self.silent.keys() - seen.asked)
        self.sight = self.sight.joined(seen, {*asked.roles, *gone} - (unknown - {*gone}))
        self.at = now
        after = _by_key(self.sight)
        still = {(host, key) for host, key, _ in after}
        site = all_of.site
        changes = [
            Change("drift-began", address_of(site, each), f"{each.said} (role {each.role}: {each.task})")
            for key, each in after.items()
            if key not in before
        ]
        changes += [
            Change("drift-ended", address_of(site, each), f"does not differ any more from what role {each.role} left")
            if expects(each)
            else Change("drift-dropped", address_of(site, each), f"role {each.role} expects nothing there any more")
            for (host, key, _), each in before.items()
            if (host, key) not in still
        ]
        return changes + self._silences(asked, seen, gone, site, now)

    def _silences(self, asked: Asked, seen: Sight, gone: list[HostName], site: str, now: datetime) -> list[Change]:
        changes = []
        for name in gone:
            self.silent.pop(name, None)
        for name in asked.roles:
            known = self.silent.get(name)
            if name in seen.unanswered:
                tries = 1 if known is None else known.tries + 1
                pause = min(self.every * 2 ** min(tries - 1, 16), max(LONGEST_PAUSE, self.every))
                why, since = seen.unanswered[name], now if known is None else known.since
                self.silent[name] = Silence(why, since, tries, now + pause - self.every / 2)
                if known is None:
                    changes.append(Change("host-silent", f"{site}/host/{name}", why))
            elif known is not None and name in seen.asked:
                del self.silent[name]
                said = f"answers again, after {int((now - known.since).total_seconds())} s"
                changes.append(Change("host-answers", f"{site}/host/{name}", said))
        return changes

    @property
    def known(self) -> Known:
        """What was seen last."""
        return Known(at=self.at, sight=self.sight)

    def open(self, site: str) -> int:
        """Number of differences that nobody has accepted."""
        now = datetime.now(UTC)
        return sum(self.sight.acceptance(site, each, now=now) is None for each in self.sight.differences)


def _hosts(sight: Sight) -> set[HostName]:
    return {each.host for each in sight.differences} | set(sight.unanswered)


def _by_key(sight: Sight) -> Mapping[tuple[str, str, str], Difference]:
    return {(each.host, each.key, each.seen): each for each in sight.differences}
