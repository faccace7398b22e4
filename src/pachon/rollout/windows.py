"""Maintenance windows: whether one is open, when the next one opens, and what the clocks say everywhere. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pachon.model.rollout import DAYS, Window

LOOKS_AHEAD_DAYS = 8


@dataclass(frozen=True)
class Opening:
    """The window that something may begin in: the one that is open, or the next one."""

    opens: datetime
    closes: datetime

    def open_at(self, now: datetime) -> bool:
        """Whether it is open."""
        return self.opens <= now < self.closes


def opening(windows: Sequence[Window], zone: str, now: datetime, *, needed: timedelta) -> Opening | None:
    """The first window, of those that have not closed, that leaves so much time; None if there is none."""
    found: list[Opening] = []
    for window in windows:
        clock = ZoneInfo(zone) if window.clock == "site" else UTC
        here = now.astimezone(clock).date()
        for ahead in range(-1, LOOKS_AHEAD_DAYS + 1):
            day = here + timedelta(days=ahead)
            if DAYS[day.weekday()] in window.days:
                opens, closes = (
                    datetime.combine(day, time.fromisoformat(text), clock).astimezone(UTC)
                    for text in (window.opens, window.closes)
                )
                if closes - max(opens, now) >= needed and closes > now:
                    found.append(Opening(opens, closes))
    return min(found, key=lambda each: (each.opens, each.closes), default=None)


def long_enough(windows: Sequence[Window], needed: timedelta) -> bool:
    """Whether any of them lasts so long."""
    lengths = [_minutes(window.closes) - _minutes(window.opens) for window in windows]
    return any(timedelta(minutes=length) >= needed for length in lengths)


def clocks(moment: datetime, zones: Mapping[str, str]) -> str:
    """The moment in UTC and as the clocks of all sites show it."""
    there = [f"{moment.astimezone(ZoneInfo(zone)):%a %H:%M} at {site}" for site, zone in zones.items()]
    return ", ".join([f"{moment.astimezone(UTC):%a %Y-%m-%d %H:%M} UTC", *there])


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return 60 * int(hours) + int(minutes)
