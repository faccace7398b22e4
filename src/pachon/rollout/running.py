"""Carries a rollout out, step by step, and back where a gate trips or somebody says so.

May be killed at any moment and run again: a step is on disk before its effect and after it, effects may be repeated,
and what is wanted of the rollout is read from the store before every step and twice a second while it waits.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pachon.errors import LeaseHeldError, PachonError, RefusedError, TemporaryError
from pachon.model.rollout import HealthGate, Place, QueryGate, SmokeGate
from pachon.model.rollout_record import RolloutRow, StepRow, Way
from pachon.progress import Event, EventState, Progress
from pachon.rollout import begun, gates, judging, opening, words
from pachon.rollout.leasing import SiteLeases
from pachon.rollout.plan import RolloutPlan, Step
from pachon.rollout.returning import way_back
from pachon.rollout.world import World
from pachon.store.lease import Lease
from pachon.store.releases import Proof
from pachon.store.rollouts import RolloutRecord, steps_of, words_about

STAGE = "rollout"
LISTENS_SECONDS = 0.5
"""How often it is read what is wanted of the rollout."""
TRIES_AGAIN_SECONDS = 1.0
TRIES_AGAIN_AT_MOST_SECONDS = 15.0
LOOKS_AT_WINDOWS_SECONDS = 30.0
BY_ITSELF = "pachon"
"""Who turns a rollout back when a gate trips."""


class _TurnedError(Exception):
    """The rollout is wanted back."""


class _TrippedError(Exception):
    """The rollout has to go back of itself."""

    def __init__(self, why: str, *, hold: bool = True, by: str = BY_ITSELF) -> None:
        super().__init__(why)
        self.why = why
        self.hold = hold
        self.by = by


@dataclass
class Running:
    """One rollout while this process carries it out."""

    plan: RolloutPlan
    record: RolloutRecord
    world: World
    leases: SiteLeases
    progress: Progress
    signers: Path | None
    """Who may speak for the Observatory."""
    _way: Way = "forward"
    _heard: int = 0
    _waits: str = ""
    _mixed_since: datetime | None = None
    _evidence: dict[str, Any] = field(default_factory=dict)
    """What the step at hand has seen so far."""

    async def carry_out(self) -> RolloutRow:
        """The rollout once it has ended: new everywhere, or old everywhere."""
        try:
            while (row := self.record.row()).ended_at is None:
                self._way = "back" if row.wanted == "back" else "forward"
                try:
                    await self._go()
                except _TurnedError:
                    continue
                except _TrippedError as trip:
                    self._turn_back(trip)
            return row
        finally:
            self.leases.give_back()

    async def _go(self) -> None:
        """All steps of the way that are not done, then its end."""
        before = self._taken
        forward = [row for row in before if row.way == "forward"]
        steps = tuple(self.plan.steps)
        if self._way == "back":
            steps = way_back(self.plan, {row.number for row in forward})
        done = {row.number for row in before if row.way == self._way and row.outcome == "done"}
        for step in steps:
            if step.number not in done:
                await self._take(step)
        await self._allowed()
        self.record.close("rolled back" if self._way == "back" else "done", at=self.world.now())

    async def _take(self, step: Step) -> None:
        """One step: intent, effect, receipt."""
        self._mixed_since = begun.mixed_since(self.plan, self._taken, step, way=self._way)
        await self._allowed()
        opened = (
            await self._open(self.plan.place(step.place), held=True)
            if begun.is_first(self._taken, step, way=self._way)
            else {}
        )
        now = self.world.now()
        row = StepRow(self._way, step.number, step.place, step.verb, attempts=1, run_id="", begun_at=now)
        self.record.begin(row)
        self._mixed_since = begun.mixed_since(self.plan, self._taken, step, way=self._way)
        self._tell(step, "started")
        self._evidence = {**opened}
        try:
            await self._do(step)
        except _TurnedError:
            self.record.end(
                self._way, step.number, "left", {**self._evidence, "why": "turned back"}, at=self.world.now()
            )
            self._tell(step, "moving", "turned back")
            raise
        except _TrippedError as trip:
            self._tell(step, "failed", trip.why)
            self._turn_back(trip, failed=(step.number, {**self._evidence, "why": trip.why}))
            raise _TurnedError from trip
        self._works()
        self._tell(step, "done")

    async def _do(self, step: Step) -> None:
        """Carry a step out and put its end on disk."""
        place, now = self.plan.place(step.place), self.world.now
        match step.verb:
            case "open":
                self._evidence.update(await self._open(place))
            case "start" | "weigh" | "stop":
                await self._effect(step, place)
            case "ready":
                await self._ready(step, place)
            case "watch":
                await self._watch(place)
            case "prove":
                await self._prove(place)
                self.record.prove(step.number, self._proof(place, self.plan.new.version), self._evidence, at=now())
                self.leases.give_back()
                return
            case "settle":
                self.record.settle(step.number, self._proof(place, step.version), at=now())
                self.leases.give_back()
                return
        self.record.end(self._way, step.number, "done", self._evidence, at=now())

    # ---- steps -------------------------------------------------------------------------------------------------

    async def _open(self, place: Place, *, held: bool = False) -> dict[str, str]:
        """Wait until the place may begin to change, all that it takes holding at one moment; what held, for the record.

        ``held``: our having its site as well, for the first effect: it may be long since the place was found open.
        """
        while True:
            await self._allowed()
            waits = self._site_waits(place) if held else ""
            if not waits:
                waits, holds = await self._found_open(place)
                if not waits:
                    return holds
                self.leases.give_back()
            self._wait_for(waits)
            await self._rest(LISTENS_SECONDS if held or self.plan.needs_word else LOOKS_AT_WINDOWS_SECONDS)

    async def _found_open(self, place: Place) -> tuple[str, dict[str, str]]:
        """What the place waits for, and what holds."""
        if self.plan.needs_word and (deaf := words.deaf(self.signers)):
            return deaf, {}
        yes = await self._last_word() if self.plan.needs_word else None
        return opening.waits_for(self.plan, place, self.world.now(), yes, rollout=self.record.name)

    def _site_waits(self, place: Place) -> str:
        """Who has the place's site, if we cannot."""
        try:
            self.leases.have(place.site)
        except (LeaseHeldError, TemporaryError) as error:
            return f"{place.address}{self._whither}: {error.message}"
        return ""

    @property
    def _whither(self) -> str:
        return ", on the way back" if self._way == "back" else ""

    async def _effect(self, step: Step, place: Place) -> None:
        """Carry an effect out under the site's lease, again and again while it cannot be done just now.

        Whoever goes back asks for a site that somebody else has twice a second: it is ours as soon as it is free.
        """
        delay = TRIES_AGAIN_SECONDS
        while True:
            if waits := self._site_waits(place):
                self._wait_for(waits)
                await self._rest(LISTENS_SECONDS if self._way == "back" else TRIES_AGAIN_SECONDS)
                continue
            try:
                await self._heeding(self._call(step, place, self.leases.held))
                break
            except TemporaryError as error:
                self._wait_for(f"{place.address}{self._whither}: {error.message}")
            except PachonError as error:
                if self._way == "forward":
                    release_is_bad = step.verb == "start" and step.version == self.plan.new.version
                    raise _TrippedError(f"{place.address}: {error.message}", hold=release_is_bad) from error
                self._wait_for(f"{place.address}, on the way back: {error.message}")
            await self._rest(delay)
            delay = min(2 * delay, TRIES_AGAIN_AT_MOST_SECONDS)
        self._evidence["did"] = step.said

    def _call(self, step: Step, place: Place, lease: Lease) -> Awaitable[None]:
        """The effect."""
        match step.verb:
            case "start":
                return self.world.start(place, self.plan.release(step.version), step.instances, lease=lease)
            case "stop":
                return self.world.stop(place, self.plan.release(step.version), step.instances, lease=lease)
            case _:
                return self.world.weigh(place, step.shares_percent, lease=lease)

    async def _heeding(self, effect: Awaitable[None]) -> None:
        """Carry an effect out, and leave it where it is if the rollout is wanted back meanwhile."""
        task = asyncio.ensure_future(effect)
        try:
            while not (await asyncio.wait({task}, timeout=LISTENS_SECONDS))[0]:
                if self._way == "forward":
                    await self._heed(self.record.row())
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _ready(self, step: Step, place: Place) -> None:
        """Wait until instances pass their contract, then use them as a user would."""
        pace, version = self.plan.pace, step.version
        spent = 0.0
        health = [gate for gate in self.plan.gates if isinstance(gate, HealthGate)]
        while True:
            found = await gates.read(self.world, self.plan, place, health, version=version, instances=step.instances)
            self._note(found)
            if not gates.shut(found) and not gates.unknown(found):
                break
            if self._way == "forward" and spent >= pace.start_seconds:
                raise _TrippedError(f"{version} does not come up at {place.address}: {gates.shut(found)}")
            waits = gates.unknown(found) or gates.shut(found)
            self._wait_for(f"{', '.join(step.instances)} of {version}: {waits}")
            rest = min(1.0, pace.check_seconds)
            await self._rest(rest)
            spent += rest if gates.shut(found) else 0
        if step.smoke:
            await self._smoke(place, step.instances)

    async def _smoke(self, place: Place, instances: tuple[str, ...]) -> None:
        smoke = [gate for gate in self.plan.gates if isinstance(gate, SmokeGate)]
        while True:
            found = await gates.read(
                self.world, self.plan, place, smoke, version=self.plan.new.version, instances=instances
            )
            self._note(found)
            if gates.shut(found):
                raise _TrippedError(gates.shut(found))
            if not (waits := gates.unknown(found)):
                return
            self._wait_for(waits)
            await self._rest(self.plan.pace.check_seconds)

    async def _watch(self, place: Place, *, seconds: float | None = None) -> None:
        """Judge a share for as long as the pace says, counted while all gates can be asked."""
        pace, version = self.plan.pace, self.plan.new.version
        needed = pace.soak_seconds if seconds is None else seconds
        judged = [gate for gate in self.plan.gates if isinstance(gate, HealthGate | QueryGate)]
        started = begun.started_at(self.plan, self._taken, place)
        watch, counted = judging.Watch(), 0.0
        while True:
            found = await gates.read(self.world, self.plan, place, judged, version=version, instances=started)
            verdict = judging.judge(watch, found, judged, seconds=counted)
            watch = verdict.watch
            self._evidence["watch"] = watch.evidence
            if verdict.tripped:
                raise _TrippedError(verdict.tripped)
            if verdict.waits:
                self._wait_for(verdict.waits)
            else:
                self._works()
            if watch.seconds >= needed and not verdict.waits and not watch.failing:
                return
            counted = min(pace.check_seconds, max(needed - watch.seconds, LISTENS_SECONDS))
            await self._rest(counted)

    async def _prove(self, place: Place) -> None:
        """Judge the whole place, and use it through its front door."""
        await self._watch(place, seconds=0)
        await self._smoke(place, gates.FRONT_DOOR)

    # ---- what is wanted, what is waited for --------------------------------------------------------------------

    async def _allowed(self) -> None:
        """Go on, or wait while the rollout is paused; raises where it has to go the other way."""
        if self._way == "back":
            return
        while True:
            row = self.record.row()
            await self._heed(row)
            waits = words.deaf(self.signers) if self.plan.needs_word and row.words > self._heard else ""
            if row.wanted == "paused":
                waits = f"'pachon rollout resume': paused by {row.wanted_by}: {row.wanted_why}"
            if not waits:
                return
            self.leases.give_back()
            self._wait_for(waits)
            await self.world.sleep(LISTENS_SECONDS)

    async def _heed(self, row: RolloutRow) -> None:
        if row.wanted == "back":
            raise _TurnedError
        if self.plan.needs_word and row.words > self._heard and not words.deaf(self.signers):
            await self._last_word()
            self._heard = self._heard if words.deaf(self.signers) else row.words
        longest = timedelta(minutes=self.plan.pace.mixed_minutes)
        if self._mixed_since is not None and self.world.now() - self._mixed_since > longest:
            why = f"two versions stood side by side for longer than {longest}"
            raise _TrippedError(f"{why}; it waited for {self._waits}" if self._waits else why, hold=False)

    async def _rest(self, seconds: float) -> None:
        """Let time pass, and listen."""
        left = seconds
        while left > 0:
            await self.world.sleep(min(left, LISTENS_SECONDS))
            left -= LISTENS_SECONDS
            await self._allowed()

    async def _last_word(self) -> words.Heard | None:
        """The Observatory's last yes; a no turns the rollout back."""
        name, seal, signers = self.record.name, self.plan.seal, self.signers
        if signers is None:
            return None
        last = None
        for word in words_about(self.record.store, name):
            try:
                heard = await asyncio.to_thread(words.hear, word, signers, rollout=name, plan=seal)
            except RefusedError as error:
                self._say(f"not the Observatory's word: {error.message}")
                continue
            if heard.saying.says == "no":
                raise _TrippedError(f"the Observatory says no: {heard.saying.why}", by=heard.by)
            last = heard
        return last

    def _turn_back(self, trip: _TrippedError, *, failed: tuple[int, dict[str, Any]] | None = None) -> None:
        self.record.turn_back(why=trip.why, by=trip.by, hold=trip.hold, at=self.world.now(), failed=failed)
        self._works()
        self._say(f"goes back: {trip.why}")

    def _wait_for(self, what: str) -> None:
        if what != self._waits:
            self._waits = what
            self.record.wait_for(what, since=self.world.now())
            self._say(f"waits for {what}")

    def _works(self) -> None:
        if self._waits or self.record.row().waits:
            self._waits = ""
            self.record.wait_for("", since=None)

    # ---- for the record ---------------------------------------------------------------------------------------------

    @property
    def _taken(self) -> tuple[StepRow, ...]:
        return steps_of(self.record.store, self.record.name)

    def _proof(self, place: Place, version: str) -> Proof:
        digest = self.plan.release(version).digest
        return Proof(place.service, version, digest, site=place.site, enclave=place.enclave)

    def _note(self, readings: tuple[judging.Reading, ...]) -> None:
        seen = self._evidence.setdefault("gates", {})
        seen.update({each.gate: f"{each.state}: {each.said}" for each in readings})

    def _tell(self, step: Step, state: EventState, message: str = "") -> None:
        total = len(tuple(self.plan.steps))
        done = step.number / total if self._way == "forward" and state == "done" else None
        told = f"{step.verb}: {step.said}" + (f" ({message})" if message else "")
        self.progress(Event(STAGE, step.place, state if state != "started" else "moving", told, done))

    def _say(self, message: str) -> None:
        self.progress(Event(STAGE, "", "moving", message))
