"""A site of files planned and brought about by the real engine: exactly the plan, and nothing after it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pachon.configuring import Tap
from pachon.drivers.pulumi import Engine
from pachon.errors import RefusedError
from pachon.layers.hardware import SiteHardware
from pachon.model.hardware import STACKS
from pachon.plan.document import Plan, read_plan, text_of_file
from pachon.planning import Seen
from pachon.progress import silent
from pachon.sealing import begin, settle
from pachon.site_look import look
from pachon.site_run import SiteRun
from pachon.store.database import Store
from pachon.store.lease import Lease, acquire, release
from tests.worlds import World, facility, make_world, pulumi_cli, without_hosts

CODE = "the program of this test"


@dataclass
class Bench:
    """A world with its store; each call is a run of its own."""

    world: World
    store: Store

    def layer(self, lease: Lease | None) -> SiteHardware:
        """The hardware of the one site."""
        engine: Engine = self.world.engine(lease)
        return SiteHardware(engine, self.store, {name: self.world.stack(name) for name in STACKS})

    def plan(self, approved: Plan | None = None, *, lease: Lease | None = None) -> tuple[Plan, Seen]:
        """The plan that holds now."""
        site = self.world.facility.sites[0]
        layer = self.layer(lease)

        async def made() -> tuple[Plan, Seen]:
            found = await look(site, layer, None, code=CODE, progress=silent)
            plan, (seen,) = await settle(
                self.world.facility,
                [Seen(site, layer, None, found)],
                code=CODE,
                images={},
                approved=approved,
                state=self.world.state,
                progress=silent,
            )
            return plan, seen

        return asyncio.run(made())

    def apply(self, approved: Plan, destroy: frozenset[str] = frozenset()) -> SiteRun:
        """The run that carried an approved plan out."""
        lease = acquire(self.store, "base", facility="filed", command="pachon apply")
        try:
            plan, seen = self.plan(approved, lease=lease)
            begin(plan, [lease.run_id], self.world.state)
            run = SiteRun(
                site=seen.site,
                hardware=seen.hardware,
                hosts=None,
                lease=lease,
                code=CODE,
                progress=Tap(silent),
                destroy_data=destroy,
            )
            asyncio.run(run.carry_out(seen.look, seen.planned))
        finally:
            release(self.store, lease, "done")
        return run


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    world = make_world(tmp_path, facility(hosts=2), pulumi_cli())
    store = world.store
    yield Bench(world, store)
    store.close()


def test_a_plan_is_carried_out_exactly_and_refused_once_anything_has_moved(bench: Bench) -> None:
    first, _ = bench.plan()
    assert first.counts == {"create": 4}
    assert first == bench.plan()[0]
    assert bench.apply(read_plan(text_of_file(first), "it")).failures == []
    again, seen = bench.plan()
    assert (again.waves, again.engines, seen.look.todo) == ((), (), ())
    assert [fact for fact in again.facts if fact.kind == "seen" and fact.value != "as wanted"] == []

    # a plan that takes a host away, and its machine with it; meanwhile its machine is switched off
    smaller = bench.world.of(without_hosts(bench.world.facility, "base-h002"))
    dropping = Bench(smaller, bench.store)
    plan, _ = dropping.plan()
    assert plan.destroys == {"base/host/base-h002": "delete"}
    with pytest.raises(RefusedError, match=r"the definition \(site base\)"):
        bench.plan(plan)
    path = bench.world.folder / "machines" / "S0001.json"
    standing = path.read_text()
    path.write_text(standing.replace('"on": true', '"on": false'))
    with pytest.raises(RefusedError, match=r"base/host/base-h001: what is seen there \(then as wanted, now is off"):
        dropping.plan(plan)
    path.write_text(standing)
    run = dropping.apply(plan, frozenset({"base/host/base-h002"}))
    assert run.failures == []
    assert bench.world.serial(2)["asset_tag"] == ""
    with pytest.raises(RefusedError, match="the last run at base"):
        Bench(smaller, bench.store).plan(plan.model_copy(update={"seal": "0" * 64}))
    left, seen = dropping.plan(plan)
    assert (left.waves, left.child_of, seen.look.todo) == ((), plan.seal, ()), "carried out: nothing is left of it"


def test_the_provider_does_nothing_that_a_plan_does_not_hold_and_the_rest_of_one_is_taken_up(bench: Bench) -> None:
    plan, _ = bench.plan()
    cut = plan.model_copy(
        update={
            "waves": tuple(
                wave.model_copy(
                    update={"actions": tuple(a for a in wave.actions if a.address != "base/host/base-h002")}
                )
                for wave in plan.waves
            )
        }
    )
    run = bench.apply(cut)
    assert [failure.address for failure in run.failures] == ["base/host/base-h002"]
    assert "has no 'create'" in run.failures[0].error
    assert bench.world.serial(2)["images_written"] == 0
    assert bench.world.serial(1)["images_written"] == 1

    # what has changed since was changed by carrying it out, so it is taken up: what is left is inside it
    assert bench.apply(plan).failures == []
    assert [bench.world.serial(number)["images_written"] for number in (1, 2)] == [1, 1]
