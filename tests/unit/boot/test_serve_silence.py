"""Hosts that do not answer a site's server: what it knows of them stays until they were really asked again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pachon.drivers.run_file import Endpoint
from pachon.layers import served
from pachon.layers.sight import Asked, Sight
from pachon.model.manifest import Difference
from pachon.serve.watching import Watch
from pachon.store.lease import hold
from pachon.store.receipts import intend
from tests.unit.boot.test_channels import host
from tests.unit.boot.test_serve_site import OFTEN, Site, play, record, serving

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench

ROUNDS = 8
"""Meanwhile it would have been asked again, if there were anything to ask it."""


def test_a_silent_host_whose_roles_are_begun_is_not_told_to_answer_nor_its_drift_to_be_dropped(
    bench: "Bench", tmp_path: Path
) -> None:
    async def script(site: Site) -> None:
        one = next(iter(site.files))
        address = site.asked.addresses[one]
        site.files[one].write_text("a = 2\n")
        async with serving(site):
            await site.until("drift-began", where=one)
            site.hosts[one].silence()
            await site.until("host-silent", where=one)
            with hold(site.store, "base", facility="f", command="test") as lease:
                intend(site.store, lease, [f"base/host/{one}/role/base"])
            site.told.clear()
            for _ in range(ROUNDS):
                await site.until("round")
            told = {each.event for each in site.told}
            assert not told & {"host-answers", "drift-dropped", "drift-ended"}
            server = await served.find(bench.state, "base")
            assert server is not None
            assert set(server.hello.unknown) == {one}
            assert [each.host for each in (await server.known()).sight.differences] == [one]
            site.files[one].write_text("a = 1\n")
            record(site, one)
            async with host(bench, tmp_path / "anew", names=(one, address)) as anew:
                site.doors[address] = Endpoint(host="127.0.0.1", port=anew.port)
                await site.until("host-answers", where=one)
                await site.until("drift-ended", where=one)

    play(bench, tmp_path, script)


def test_a_silent_host_that_the_definition_has_no_more_is_forgotten() -> None:
    now = datetime.now(UTC)
    both = Asked(site="base", addresses={}, roles={"one": ("base",), "other": ("base",)})
    other = both.only(["other"])
    gone = Difference(
        host="one", role="base", task="x", kind="file", name="/x", aspect="mode", expected="0644", seen="0666"
    )
    watch = Watch(every=OFTEN)

    def rounds(asked: Asked, seen: Sight) -> list[str]:
        return [each.event for each in watch.took(asked, seen, all_of=asked, expects=lambda _: False, now=now)]

    assert rounds(both, Sight(differences=(gone,), asked=frozenset(both.roles))) == ["drift-began"]
    silent = Sight(unanswered={"one": "no answer"}, asked=frozenset(both.roles))
    assert rounds(both, silent) == ["host-silent"]
    assert rounds(both, Sight(asked=frozenset(other.roles))) == [], "it was not asked, since nothing is expected there"
    assert (set(watch.silent), watch.open("base")) == ({"one"}, 1)
    assert rounds(other, Sight(asked=frozenset(other.roles))) == ["drift-dropped"]
    assert (watch.silent, dict(watch.sight.unanswered)) == ({}, {})
