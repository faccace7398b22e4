"""The image cache: nothing half done, nothing done twice, nothing trusted that is not whole."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from infra.image import bake, recipe
from infra.image.artefact import Artefact, ImageSet, verify
from infra.image.keys import keys
from infra.image.shelf import Shelf
from pachon.errors import MissingError, PermanentError, UsageError
from pachon.progress import silent

FORK = multiprocessing.get_context("fork")


def nobody_waits() -> None:
    raise AssertionError("nobody else holds the shelf")


def put(shelf: Shelf, what: str, key: str, content: bytes) -> Artefact:
    with shelf.held(nobody_waits):
        made = shelf.work(what) / "made"
        made.write_bytes(content)
        artefact = shelf.put_artefact(made, what, raw_size_bytes=len(content))
        shelf.record(what, key, artefact)
    return artefact


def full(cache: Path, flavour: str = "server") -> Shelf:
    """A shelf that has everything for a flavour."""
    shelf, wanted = Shelf(cache), keys(flavour)
    put(shelf, f"root-{flavour}", wanted.root, b"root")
    put(shelf, "kernel", wanted.kernel, b"kernel")
    put(shelf, "kernel-version", wanted.kernel, b"6.1.0\n")
    put(shelf, "deploy", wanted.deploy, b"deploy")
    put(shelf, "packages", wanted.base, b"bash 5.2\n")
    return shelf


def test_what_is_there_is_found_without_root_and_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = full(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with shelf.held(nobody_waits):
        images = bake.ensure("server", cache=tmp_path, progress=silent, full_check=True)
    assert images.kernel_version == "6.1.0"
    assert images == ImageSet.model_validate_json(images.model_dump_json())


def test_baking_without_root_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="root"):
        bake.ensure("server", cache=tmp_path, progress=silent)


def test_an_unknown_flavour_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=", ".join(recipe.FLAVOURS)):
        bake.ensure("toaster", cache=tmp_path, progress=silent)


def test_a_cache_that_was_moved_still_serves(tmp_path: Path) -> None:
    full(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert bake.ensure("server", cache=tmp_path / "new", progress=silent).root.path.is_file()


def test_a_file_cut_short_is_not_found(tmp_path: Path) -> None:
    artefact = put(Shelf(tmp_path), "root", "k", b"content")
    os.truncate(artefact.path, 3)
    assert Shelf(tmp_path).artefact("root", "k") is None


def test_a_broken_record_is_not_found(tmp_path: Path) -> None:
    put(Shelf(tmp_path), "root", "k", b"content")
    (tmp_path / "images/records/root-k.json").write_text("{")
    assert Shelf(tmp_path).artefact("root", "k") is None


def test_changed_content_of_the_same_size_is_seen_by_the_full_check(tmp_path: Path) -> None:
    full(tmp_path)
    images = bake.ensure("server", cache=tmp_path, progress=silent)
    images.root.path.write_bytes(b"toor")
    bake.ensure("server", cache=tmp_path, progress=silent)
    with pytest.raises(PermanentError, match="remove it"):
        verify(images)


def test_only_the_newest_key_of_a_stage_is_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for name, key in (("tree", "a" * 16), ("tree-switch", "b" * 16), ("tree", "c" * 16)):
        with shelf.held(nobody_waits):
            made = shelf.work("tree") / "made"
            made.mkdir()
            (made / "file").write_text(key)
            shelf.put_stage(name, key, made)
    assert shelf.stage("tree", "a" * 16) is None
    assert shelf.stage("tree", "c" * 16) is not None
    assert shelf.stage("tree-switch", "b" * 16) is not None


def test_what_nobody_asks_for_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old, new = put(Shelf(tmp_path), "root", "old", b"old"), put(Shelf(tmp_path), "root", "new", b"new")
    later = time.time() + 31 * 86400
    os.utime(tmp_path / "images/records/root-new.json", (later, later))
    Shelf(tmp_path).prune(later)
    assert not old.path.exists()
    assert new.path.exists()


def _die_at_work(cache: Path, ready: Event) -> None:
    shelf = Shelf(cache)
    with shelf.held(nobody_waits):
        (shelf.work("tree") / "half").write_text("half a tree")
        ready.set()
        signal.pause()


def test_a_killed_bake_holds_nothing_and_its_work_is_cleared(tmp_path: Path) -> None:
    ready = FORK.Event()
    process = FORK.Process(target=_die_at_work, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    assert list((tmp_path / "images/work").iterdir()) != []
    with Shelf(tmp_path).held(nobody_waits):
        assert list((tmp_path / "images/work").iterdir()) == []


def _hold_until(cache: Path, holding: Event, waiting: Event) -> None:
    shelf = Shelf(cache)
    with shelf.held(nobody_waits):
        holding.set()
        waiting.wait(60)
        made = shelf.work("root") / "made"
        made.write_bytes(b"made once")
        shelf.record("root", "k", shelf.put_artefact(made, "root", raw_size_bytes=9))


def test_the_second_of_two_bakes_waits_and_finds_what_the_first_made(tmp_path: Path) -> None:
    holding, waiting = FORK.Event(), FORK.Event()
    process = FORK.Process(target=_hold_until, args=(tmp_path, holding, waiting))
    process.start()
    assert holding.wait(60)
    shelf = Shelf(tmp_path)
    with shelf.held(waiting.set):
        assert waiting.is_set(), "it was told that another one is at work"
        assert shelf.artefact("root", "k") is not None
    process.join()
