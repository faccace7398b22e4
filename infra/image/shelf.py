"""Keeps what a bake makes: stages by the digest of their inputs, artefacts by the digest of their content.

Everything is made in a work folder and moved into place whole, so that a killed bake leaves nothing half done. One
lock for the folder: a second bake waits, then finds what the first one made.

    images/<hex>.<name>           artefacts
    images/stages/<stage>-<key>/  intermediate trees and packages; only the newest key of a stage is kept
    images/records/<what>-<key>.json
    images/work/                  emptied at the start of every bake

What nobody asked for in a month is removed after a bake.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from infra.image.artefact import Artefact, file_digest, is_whole

KEPT_DAYS = 30
ARTEFACT = re.compile(r"[0-9a-f]{64}\.")


class Shelf:
    """The image folder of one cache."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "images"
        self._stages = self.root / "stages"
        self._records = self.root / "records"
        self._work = self.root / "work"

    @contextlib.contextmanager
    def held(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the folder alone; leftovers of killed bakes are cleared away. ``on_wait`` is told of another holder."""
        for folder in (self._stages, self._records, self._work):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(stream, fcntl.LOCK_EX)
            self._clear()
            try:
                yield
            finally:
                self._clear()

    def work(self, name: str) -> Path:
        """A new, empty folder for work, gone at the end of the bake."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._work))

    def stage(self, name: str, key: str) -> Path | None:
        """Folder of a stage that was finished earlier."""
        folder = self._stages / f"{name}-{key}"
        return folder if folder.is_dir() else None

    def put_stage(self, name: str, key: str, made: Path) -> Path:
        """Take a finished folder in; older ones of the same stage go."""
        folder = self._stages / f"{name}-{key}"
        _settle(made)
        made.rename(folder)
        length = len(folder.name)
        for other in self._stages.glob(f"{name}-*"):
            if other != folder and len(other.name) == length:
                shutil.rmtree(other, ignore_errors=True)
        return folder

    def put_artefact(self, made: Path, name: str, *, raw_size_bytes: int, raw_digest: str | None = None) -> Artefact:
        """Take a finished file in under the digest of its content."""
        digest = file_digest(made)
        path = self.root / f"{digest.removeprefix('sha256:')}.{name}"
        made.chmod(0o644)
        with made.open("rb") as stream:
            os.fsync(stream.fileno())
        made.rename(path)
        return Artefact(
            name=name,
            path=path,
            digest=digest,
            size_bytes=path.stat().st_size,
            raw_size_bytes=raw_size_bytes,
            raw_digest=raw_digest or digest,
        )

    def artefact(self, what: str, key: str) -> Artefact | None:
        """The artefact made earlier from these inputs, if its file is still whole."""
        try:
            found = Artefact.model_validate_json((self._records / f"{what}-{key}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        found = found.model_copy(update={"path": self.root / found.path.name})
        if not is_whole(found):
            return None
        with contextlib.suppress(OSError):
            os.utime(self._records / f"{what}-{key}.json")
        return found

    def record(self, what: str, key: str, artefact: Artefact) -> None:
        """Remember which artefact came of these inputs."""
        target = self._records / f"{what}-{key}.json"
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(artefact.model_dump_json(indent=1) + "\n")
        draft.rename(target)

    def prune(self, now: float) -> None:
        """Remove records that nobody asked for in ``KEPT_DAYS``, and artefacts that no record names any more."""
        oldest = now - KEPT_DAYS * 86400
        named = set()
        for record in self._records.glob("*.json"):
            if record.stat().st_mtime < oldest:
                record.unlink()
                continue
            with contextlib.suppress(ValidationError):
                named.add(Artefact.model_validate_json(record.read_bytes()).path.name)
        for path in self.root.iterdir():
            if (
                path.is_file()
                and ARTEFACT.match(path.name)
                and path.name not in named
                and path.stat().st_mtime < oldest
            ):
                path.unlink()

    def _clear(self) -> None:
        for leftover in self._work.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        for draft in self._records.iterdir():
            if draft.suffix != ".json":
                draft.unlink()


def _settle(folder: Path) -> None:
    """Have the files on the disk before their folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
