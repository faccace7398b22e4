"""A store, a world in a file and a service in it: what tests of running rollouts share."""

import asyncio
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pachon.model.rollout import Place
from pachon.model.rollout_record import RolloutRow
from pachon.model.service import Change
from pachon.progress import Event, silent
from pachon.rollout import words
from pachon.rollout.beginning import Order, Subject, carry_out
from pachon.rollout.plan import RolloutPlan
from pachon.store.database import Store
from pachon.store.rollouts import plan_of, rollouts_of, speak
from tests.rollout_world import FiledWorld
from tests.rollouts import NEW, OLD, ZONES, place, rules, service

PLACES = (place(), place("base"))
ORDER = Order(version=NEW.version, sites=(), by="itahue", why="faster searches", command="pachon rollout start search")


@dataclass
class Stage:
    """A store, a world, and a service in it."""

    store: Store
    world: FiledWorld
    subject: Subject

    def start(self, order: Order = ORDER, progress: Callable[[Event], None] = silent) -> RolloutRow:
        return asyncio.run(carry_out(self.subject, order, self.world, self.store, progress))

    @property
    def row(self) -> RolloutRow:
        return rollouts_of(self.store)[0]


def stage(store: Store, folder: Path, *, places: tuple[Place, ...] = PLACES, **changes: Any) -> Stage:
    """The old release serves at these places."""
    change, signers = changes.pop("change", None), changes.pop("signers", None)
    subject = Subject(
        facility="made",
        zones=ZONES,
        service=service(change=change),
        rules=rules(**changes),
        releases={OLD.version: OLD, NEW.version: NEW},
        places=places,
        signers=signers,
    )
    return Stage(store, FiledWorld.made(folder / "world.json", places), subject)


def told_while(it: Stage) -> list[str]:
    """What the rollout says that it waits for, as it comes."""
    said: list[str] = []

    def listen(event: Event) -> None:
        if event.message.startswith("waits for "):
            said.append(event.message.removeprefix("waits for "))
            assert it.row.waits == said[-1]

    assert it.start(progress=listen).outcome == "done"
    assert it.row.waits == ""
    return said


class KilledError(BaseException):
    """Stands for a kill: nothing after it is carried out."""


WORD = Change(when="any-time", approver="team", notice_hours=None, observatory_veto="LDM-230", basis="ours")


def keys(folder: Path) -> tuple[Path, Path, Path]:
    """The Observatory's key, a stranger's, and the file that says which is which."""
    for name in ("observatory", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    signers = folder / words.SIGNERS
    signers.write_text(f"observatory@summit {(folder / 'observatory.pub').read_text()}")
    return folder / "observatory", folder / "stranger", signers


def say(it: Stage, says: Literal["yes", "no"], key: Path) -> None:
    """Have somebody speak on the stage's rollout."""
    seal = RolloutPlan.model_validate(plan_of(it.store, it.row.id)).seal
    saying = words.Saying(rollout=it.row.id, plan=seal, says=says, until=None, why="the sky is clouded")
    with ThreadPoolExecutor(1) as aside:  # whoever speaks is another process
        word = aside.submit(words.speak, saying, key, now=it.world.now()).result()
    speak(it.store, it.row.id, word)
