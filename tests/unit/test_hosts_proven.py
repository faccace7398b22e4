"""What is remembered of hosts that are well: it saves work, and whatever changes is seen with it as without it."""

import asyncio
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from infra.boot import ca
from pachon import definition, hostvars, program_text, secrets
from pachon.drivers import ansible
from pachon.layers import hosts as layer_of_hosts
from pachon.layers import proven
from pachon.layers.hosts import SiteHosts
from pachon.layers.role_trees import role_trees
from pachon.layers.sight import Sight
from pachon.model.manifest import Difference
from pachon.store.database import Store, open_store
from pachon.store.lease import hold
from pachon.store.receipts import intend, put_receipt, receipts_at
from pachon.store.tables import receipts
from tests.fake_plays import FakePlays, FakeProbe

SMALL = definition.load(Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small")
ONE = SMALL.sites[0]
ADMIN = next(host for host in ONE.hosts if host.name == "one-adm01")
OF_BASE = f"{ONE.name}/host/{ADMIN.name}/role/base"
SECRET = "x-one"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is not edited while these tests run, whatever is."""
    monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: True)


@pytest.fixture
def layer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SiteHosts]:
    """All is played well, and that was looked at once."""
    monkeypatch.setattr(ansible, "play", FakePlays().play)
    monkeypatch.setattr(
        hostvars, "secrets_of", lambda facility, host, role: {SECRET: 32} if (host, role) == (ADMIN, "base") else {}
    )
    ca.ensure_site(tmp_path, ONE)
    with hold(store, ONE.name, facility=SMALL.name, command="test") as lease:
        made = SiteHosts(
            facility=SMALL,
            site=ONE,
            state=tmp_path,
            store=store,
            generations={host.name: "g1" for host in ONE.active_hosts},
            baked={"server": hostvars.ROLES, "switch": hostvars.EVERY_HOST},
            lease=lease,
        )
        made.probe = FakeProbe()
        made.make_secrets()
        assert asyncio.run(made.play([host.name for host in ONE.active_hosts])) == []
        assert made.pending() == {}
        yield made


def anew(layer: SiteHosts) -> SiteHosts:
    """The same as another process has it."""
    made = SiteHosts(**{name: getattr(layer, name) for name in layer.__dataclass_fields__ if name != "proven"})
    made.probe = FakeProbe()
    return made


def file_of(layer: SiteHosts) -> Path:
    return layer.state / proven.FOLDER / ONE.name


def judged(layer: SiteHosts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts whose receipts are read for what is pending now."""
    asked: list[str] = []
    real = proven.Kept.with_receipts

    def noted(self: proven.Kept, store: Store, hosts: Collection[str]) -> proven.Kept:
        asked.extend(hosts)
        return real(self, store, hosts)

    with monkeypatch.context() as patch:
        patch.setattr(proven.Kept, "with_receipts", noted)
        layer.pending()
    return sorted(each.rpartition("/")[2] for each in asked)


def intended(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    assert layer.lease is not None
    intend(layer.store, layer.lease, [OF_BASE])


def of_other_inputs(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    put_receipt(layer.store, OF_BASE, run_id="x", inputs_digest="another")


def unrecorded(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    digest = receipts_at(layer.store, [OF_BASE])[OF_BASE].inputs_digest
    put_receipt(layer.store, OF_BASE, run_id="x", inputs_digest=digest)


def dropped(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    with layer.store.transaction() as connection:
        connection.execute(delete(receipts).where(receipts.c.address == OF_BASE))


def worn(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    with layer.store.transaction() as connection:
        connection.execute(update(receipts).values(at=datetime.now(UTC) - timedelta(days=20)))


def other_text(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    trees = {**role_trees(), "base": "another"}
    patch.setattr(layer_of_hosts, "role_trees", lambda: trees)


def other_generation(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    layer.generations = {**layer.generations, ADMIN.name: "g2"}


def other_installation(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    key = (layer.state / "ca" / ONE.name / "ssh_user_ca.pub").read_text()  # any key will do
    ca.sign_host(layer.state, ONE.name, serial=ADMIN.machine, public_keys=[key], names=[ADMIN.name])


def other_secret(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    secrets.path_of(layer.state, SECRET).write_text("another")


def lost_secret(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    secrets.path_of(layer.state, SECRET).unlink()


def other_definition(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    layer.facility = SMALL.model_copy(update={"domain": "another.example"})


def other_image(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    layer.baked = {}


def seen_to_differ(layer: SiteHosts, patch: pytest.MonkeyPatch) -> None:
    told = Difference(
        host=ADMIN.name,
        role="base",
        task="x",
        kind="file",
        name="/etc/x",
        aspect="mode",
        expected="0644",
        seen="0666",
    )
    layer.sight = Sight(differences=(told,))


CHANGES = (
    intended,
    of_other_inputs,
    unrecorded,
    dropped,
    worn,
    other_text,
    other_generation,
    other_installation,
    other_secret,
    lost_secret,
    other_definition,
    other_image,
    seen_to_differ,
)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_seen_as_without_what_is_remembered(
    change: Callable[[SiteHosts, pytest.MonkeyPatch], None], layer: SiteHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file_of(layer).exists()
    change(layer, monkeypatch)
    found = anew(layer).pending()
    assert anew(layer).pending() == found, "nor is anything remembered that is not so"
    shutil.rmtree(file_of(layer).parent)
    assert anew(layer).pending() == found
    assert change is other_image or ADMIN.name in found


def test_the_program_and_what_it_runs_on_count(layer: SiteHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(anew(layer), monkeypatch) == []
    monkeypatch.setattr(proven, "version", lambda: "another")
    layer.facility = SMALL.model_copy()
    assert judged(anew(layer), monkeypatch) == sorted(host.name for host in ONE.active_hosts)


def test_a_process_whose_text_was_edited_leaves_nothing_for_others_to_go_by(
    layer: SiteHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(file_of(layer).parent)
    with monkeypatch.context() as patch:
        patch.setattr(program_text, "is_what_runs", lambda *folders: folders != program_text.LOOKING)
        old = anew(layer)
        assert old.pending() == {}
        assert judged(old, monkeypatch) == [], "itself it goes by that"
    assert judged(anew(layer), monkeypatch) == sorted(host.name for host in ONE.active_hosts)


def test_of_many_hosts_only_the_changed_one_is_judged(layer: SiteHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    of_other_inputs(layer, monkeypatch)
    assert judged(anew(layer), monkeypatch) == [ADMIN.name]
    assert list(anew(layer).pending()) == [ADMIN.name]
    assert anew(layer).pending([ADMIN.name]).keys() == {ADMIN.name}


def test_what_is_judged_before_the_look_is_not_judged_again(layer: SiteHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(file_of(layer).parent)
    seen_to_differ(layer, monkeypatch)
    other = anew(layer)
    other.judge()
    assert judged(other, monkeypatch) == [ADMIN.name]
    assert list(other.pending()) == [ADMIN.name]


@pytest.mark.parametrize("content", [b"", b"\0\xff" * 99, b"0123", None])
def test_a_file_that_is_garbled_costs_time_only(
    content: bytes | None, layer: SiteHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = file_of(layer).read_bytes()
    file_of(layer).write_bytes(whole[: len(whole) // 2 + 1] if content is None else content)
    other_secret(layer, monkeypatch)
    found = anew(layer).pending()
    assert list(found) == [ADMIN.name]
    assert judged(anew(layer), monkeypatch) == [ADMIN.name], "it was written anew"


def test_a_killed_writer_leaves_what_was_remembered_before(layer: SiteHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = file_of(layer).read_bytes()

    class KilledError(BaseException):
        pass

    def die(self: Path, target: Path) -> None:
        raise KilledError

    of_other_inputs(layer, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KilledError):
            anew(layer).pending()
    assert file_of(layer).read_bytes() == whole
    assert list(anew(layer).pending()) == [ADMIN.name]


def test_where_nothing_can_be_written_down_all_works_the_same(layer: SiteHosts) -> None:
    shutil.rmtree(file_of(layer).parent)
    file_of(layer).parent.write_text("no folder")
    assert anew(layer).pending() == {}
