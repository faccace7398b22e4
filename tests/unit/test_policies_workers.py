"""Workers that a site is to lose: known until Slurm has forgotten them, whatever is killed in between."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pachon import definition
from pachon.configuring import Tap
from pachon.drivers import slurm
from pachon.drivers.slurm import Slurm
from pachon.errors import TemporaryError
from pachon.layers.following import Trouble, document_of
from pachon.layers.hardware import SiteHardware
from pachon.layers.hosts import SiteHosts
from pachon.layers.policies import SitePolicies, leaving_workers, node_address, returning_workers
from pachon.layers.sight import Sight
from pachon.model.manifest import Manifest
from pachon.plan.bounds import outside
from pachon.plan.document import Action
from pachon.plan.making import Basis, Findings, plan_of
from pachon.progress import silent
from pachon.site_run import Failed, SiteRun
from pachon.store.database import Store, open_store
from pachon.store.lease import hold
from pachon.store.receipts import drop_receipts, put_receipt
from tests.fake_plays import stands
from tests.worlds import facility

SITE = definition.load(definition.find("lab")).site("base")
OLD, STAYS = (f"base/host/base-batch0{number}/role/slurm_compute" for number in (9, 1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "store.db")
    for address in (OLD, STAYS, "base/host/base-batch09/role/base", "base/host/base-db09/role/base"):
        put_receipt(store, address, run_id="r1", inputs_digest="d1", document={})
    yield store
    store.close()


def test_a_host_with_the_receipt_of_a_worker_that_is_none_any_more_is_to_be_forgotten(store: Store) -> None:
    assert leaving_workers(SITE, store) == ("base-batch09",)
    idle = tuple(host.model_copy(update={"groups": ()}) for host in SITE.hosts if host.name != "base-bctl01")
    assert leaving_workers(SITE.model_copy(update={"hosts": idle}), store) == (), "there is no Slurm that could forget"


def test_a_worker_that_was_drained_to_be_taken_away_and_then_stays_is_given_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = Controller()
    controller.nodes = {"base-batch01": "idle", "base-batch02": "drain"}
    controller.reasons = {"base-batch02": "bad memory"}

    @asynccontextmanager
    async def slurm(policies: SitePolicies) -> AsyncIterator[Slurm]:
        yield controller

    monkeypatch.setattr(SitePolicies, "_slurm", slurm)
    assert returning_workers(SITE, store) == ()
    names = ["base-batch01", "base-batch02"]
    with hold(store, "base", facility="f", command="test") as lease:
        policies = SitePolicies(SITE, tmp_path, store, lease, {}, silent)
        asyncio.run(policies.drain(names))
        assert controller.nodes == {"base-batch01": "drain", "base-batch02": "drain"}
        assert returning_workers(SITE, store) == ("base-batch01", "base-batch02")
        controller.away = True
        troubles = asyncio.run(policies.give_back(names))
        assert [each.address for each in troubles] == [node_address("base", name) for name in names]
        assert returning_workers(SITE, store) == ("base-batch01", "base-batch02"), "it is left to the next run"
        controller.away = False
        assert asyncio.run(policies.give_back(names)) == []
        assert controller.nodes == {"base-batch01": "resume", "base-batch02": "drain"}, "what a person did stays"
        assert returning_workers(SITE, store) == ()


def test_one_that_is_on_its_way_out_is_known_until_slurm_has_forgotten_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = Controller(away=True)

    @asynccontextmanager
    async def slurm(policies: SitePolicies) -> AsyncIterator[Slurm]:
        yield controller

    monkeypatch.setattr(SitePolicies, "_slurm", slurm)
    with hold(store, "base", facility="f", command="test") as lease:
        policies = SitePolicies(SITE, tmp_path, store, lease, {}, silent)
        asyncio.run(policies.drain(["w2"]))
        drop_receipts(store, lease, [OLD])
        (trouble,) = asyncio.run(policies.forget(["w2"]))
        assert (trouble.address, "does not answer" in trouble.error) == ("base/node/w2", True)
        assert leaving_workers(SITE, store) == ("w2",), "it is left to the next run"
        controller.away = False
        assert asyncio.run(policies.forget(["w2"])) == []
        assert leaving_workers(SITE, store) == ()


class Controller(Slurm):
    """A Slurm that knows two nodes, one of which stays busy for some turns."""

    def __init__(self, *, busy: int = 0, away: bool = False) -> None:
        self._site = "base"
        self.nodes = {"w1": "idle", "w2": "idle"}
        self.reasons: dict[str, str] = {}
        self.busy, self.away = busy, away

    async def _turn(self, orders: Sequence[dict[str, Any]], *, prefix: str = "") -> dict[str, Any]:
        return {"outputs": [self._said(order["argv"]) for order in orders]}

    def _said(self, argv: Sequence[str]) -> dict[str, Any]:
        name = argv[2].partition("=")[2]
        if self.away:
            return {"status": 1, "stdout": "", "stderr": "slurm_load_partitions: Unable to contact slurm controller"}
        if argv[0] == "sinfo":
            listed = [f"{node}|{self.reasons.get(node, 'none')}" for node in self.nodes]
            return {"status": 0, "stdout": "\n".join(listed), "stderr": ""}
        if name not in self.nodes:
            return {"status": 1, "stdout": "", "stderr": "Invalid node name specified"}
        if argv[1] == "update":
            self.nodes[name] = argv[3].partition("=")[2]
            self.reasons[name] = argv[4].partition("=")[2] if argv[4:] else "none"
        elif self.busy:
            self.busy -= 1
            return {"status": 1, "stdout": "", "stderr": "scontrol: error: Requested nodes are busy"}
        elif self.nodes[name] == "down":
            del self.nodes[name]
        return {"status": 0, "stdout": "", "stderr": ""}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "NODE_PAUSES_SECONDS", (0.0, 0.0, 0.0))


def test_a_node_is_forgotten_as_soon_as_its_jobs_have_ended_and_once_is_enough() -> None:
    controller = Controller(busy=2)
    asyncio.run(controller.drain(["w2"]))
    assert controller.nodes == {"w1": "idle", "w2": "drain"}
    assert asyncio.run(controller.delete_nodes(["w2", "unheard-of"])) == {}
    assert controller.nodes == {"w1": "idle"}
    assert asyncio.run(controller.delete_nodes(["w2"])) == {}, "a run that was killed before it could write that down"


def test_a_node_that_stays_is_told_of_with_what_slurm_said() -> None:
    told = asyncio.run(Controller(busy=9).delete_nodes(["w2"]))
    assert told == {"w2": "scontrol: error: Requested nodes are busy"}
    with pytest.raises(TemporaryError, match=r"does not answer: .*Unable to contact"):
        asyncio.run(Controller(away=True).delete_nodes(["w2"]))


def test_a_node_that_was_given_up_in_the_middle_of_being_forgotten_is_given_back() -> None:
    controller = Controller(busy=9)
    asyncio.run(controller.delete_nodes(["w2"]))
    assert asyncio.run(controller.give_back(["w1", "w2", "unheard-of"])) == {}
    assert controller.nodes == {"w1": "idle", "w2": "resume"}
    with pytest.raises(TemporaryError, match="does not answer"):
        asyncio.run(Controller(away=True).give_back(["w2"]))


def test_a_plan_gives_a_worker_back_once_its_host_is_as_wanted_and_holds_nothing_else_of_it() -> None:
    address = "base/host/base-h001"
    role = Action(
        site="base", layer="hosts", stack="hosts", address=f"{address}/role/slurm_compute", verb="update", reason="r"
    )
    node = role.model_copy(
        update={"layer": "policies", "stack": "policies", "address": "base/node/base-h001", "given": ""}
    )
    whole = facility(hosts=1)
    made = plan_of(whole, [Findings(site="base", actions=(node, role))], Basis(definition={}, code={}, roles=()))
    assert [[action.address for action in wave.actions] for wave in made.waves] == [[role.address], [node.address]]
    assert (made.waves[1].actions[0].risk, made.waves[1].actions[0].why_risk) == ("low", "jobs begin there again")
    gone = plan_of(
        whole,
        [Findings(site="base", actions=(node.model_copy(update={"verb": "delete"}),))],
        Basis(definition={}, code={}, roles=()),
    )
    assert outside(gone, made) == ["base/node/base-h001 (delete)"]
    assert outside(made, gone) == [f"{role.address} (update)", "base/node/base-h001 (update)"]


def test_slurm_forgets_a_worker_after_its_host_is_gone_and_that_needs_no_approval_by_name() -> None:
    address = "base/host/base-h001"
    gone = Action(site="base", layer="hardware", stack="compute", address=address, verb="delete", reason="r")
    node = Action(
        site="base", layer="policies", stack="policies", address="base/node/base-h001", verb="delete", reason="r"
    )
    whole = facility(hosts=1)
    made = plan_of(whole, [Findings(site="base", actions=(node, gone))], Basis(definition={}, code={}, roles=()))
    assert [[action.address for action in wave.actions] for wave in made.waves] == [[address], [node.address]]
    assert (made.waves[1].actions[0].needs, made.waves[1].actions[0].risk) == ((address,), "low")
    assert list(made.destroys) == [address]
    assert outside(made, made) == []


def test_slurm_keeps_a_worker_that_still_stands_though_it_was_to_go(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole compute stack failed, so nothing tells of single hosts."""
    told: list[str] = []

    async def forget(policies: SitePolicies, names: Sequence[str]) -> list[Trouble]:
        told.extend(names)
        return []

    monkeypatch.setattr(SitePolicies, "forget", forget)
    idle = tuple(each.model_copy(update={"groups": ()}) if each.name == "base-batch01" else each for each in SITE.hosts)
    site = SITE.model_copy(update={"hosts": idle})
    put_receipt(store, STAYS, run_id="r1", inputs_digest="d1", document=document_of(Manifest(recorded=True)))
    with hold(store, "base", facility="f", command="test") as lease:
        stands(store, lease, "base/host/base-batch09")
        looked: list[set[str]] = []

        async def look(names: set[str]) -> None:
            looked.append(names)

        hosts = cast(SiteHosts, SimpleNamespace(store=store, state=tmp_path, endpoints={}, sight=Sight(), look=look))
        run = SiteRun(site, cast(SiteHardware, None), hosts, lease, "code", Tap(silent))
        run.failures.append(Failed(address="base/stack/compute", error="the engine failed", cure=""))
        names = ["base-batch01", "base-batch08", "base-batch09"]
        assert asyncio.run(run._forget(names)) == ["base-batch08"] == told
        assert [each.address for each in run.failures[1:]] == ["base/node/base-batch01", "base/node/base-batch09"]
        assert looked == [{"base-batch01"}], "it may have been made anew since"
        seen = Sight(over=frozenset({("base-batch01", "slurm_compute")}))

        async def look_again(names: set[str]) -> None:
            hosts.sight = seen

        hosts.look = look_again  # type: ignore[method-assign,assignment]  # it was made anew by this run, or was silent
        assert asyncio.run(run._forget(["base-batch01"])) == ["base-batch01", "base-batch08"], (
            "it was seen to have none"
        )
