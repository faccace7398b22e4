"""A site's server while its definition, or its own program, is edited."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pachon import program_text
from pachon.errors import PachonError
from pachon.layers import served
from pachon.layers.served import LookAt
from pachon.serve import Order
from pachon.serve import serving as serving_module
from tests.unit.boot.test_serve_site import OFTEN, Site, play, serving

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


@pytest.mark.parametrize(
    ("error", "edited", "said"),
    [
        (PachonError("no such host"), False, ": no such host"),
        (ImportError("no 'site'"), False, ": ImportError: no 'site'"),
        (ImportError("no 'site'"), True, "the program was edited since this server began, end it and start it anew"),
        (AttributeError("no 'site'"), True, "(AttributeError: no 'site')"),
    ],
)
def test_a_definition_that_cannot_be_read_leaves_the_one_before_watched(
    error: Exception, edited: bool, said: str, bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(site: Site) -> None:
        broken = asyncio.Event()

        def definition() -> object:
            if broken.is_set():
                raise error
            return bench.facility

        order = Order(
            sites=("base",),
            state=bench.state,
            definition=definition,  # type: ignore[arg-type]  # it returns a facility or raises
            detours=lambda: site.doors,
            every=OFTEN,
        )
        (one, *_) = site.files
        async with serving(site, order):
            monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: not edited)
            broken.set()
            assert said in (await site.until("trouble")).message
            site.files[one].write_text("a = 2\n")
            await site.until("drift-began")
            assert "trouble" not in {each.event for each in site.told}, "once is enough"

    play(bench, tmp_path, script)


@pytest.mark.parametrize("error", [ImportError("cannot import 'x'"), SyntaxError("half saved"), AttributeError("x")])
def test_a_round_that_fails_at_an_edited_module_is_told_and_the_next_one_comes(
    error: Exception, bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(site: Site) -> None:
        def fail(*all_of_it: object, **named: object) -> None:
            raise error

        (one, *_) = site.files
        async with serving(site):
            monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: False)
            with monkeypatch.context() as edited:
                edited.setattr(serving_module, "look", fail)
                assert f"({type(error).__name__}: {error})" in (await site.until("trouble")).message
            site.files[one].write_text("a = 2\n")
            await site.until("drift-began")

    play(bench, tmp_path, script)


@pytest.mark.parametrize("error", [ImportError("cannot import 'x'"), SyntaxError("half saved"), AttributeError("x")])
def test_a_question_that_modules_of_another_version_fail_at_is_refused_with_why(
    error: Exception, bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(site: Site) -> None:
        def fail(*all_of_it: object, **named: object) -> None:
            raise error

        async with serving(site, site.order(every=timedelta(minutes=5))):
            server = await served.find(bench.state, "base")
            assert server is not None
            monkeypatch.setattr(serving_module, "look", fail)
            monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: False)
            with pytest.raises(served.GoneError, match="edited since this server began, end it and start it anew"):
                await server.look(LookAt(asked=site.asked, doors=site.doors))

    play(bench, tmp_path, script)


def test_a_server_that_began_before_an_edit_says_no_version(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(site: Site) -> None:
        monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: False)
        async with serving(site):
            with pytest.raises(served.GoneError, match="another version of the program"):
                await served.find(bench.state, "base")

    play(bench, tmp_path, script)
