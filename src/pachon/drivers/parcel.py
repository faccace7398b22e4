"""Parcels: this program with all that it imports as one file, and any folder's files, laid down on a host over SSH.

A parcel is a tar archive packed with zstd. It is unpacked beside its place and moved there whole, so a place holds the
old content or the new, whenever the sending is killed.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from packaging.requirements import Requirement

from pachon import places
from pachon.drivers.program import run
from pachon.errors import MissingError, TemporaryError
from pachon.model.stamp import digest

PARTS = ("src", "infra", "stacks", "playbooks", "inventory/catalogue", "inventory/schema", "inventory/hosts")
"""What of the checkout runs and is read; definitions are sent on their own."""
PLAIN = ("LICENSE", "README.md", "pyproject.toml", "requirements.lock", "ansible.cfg")
LEFT_OUT = frozenset({"debugpy", "pip", "setuptools", "wheel"})
"""Distributions that others name and nothing here imports."""
PASSED_OVER = re.compile(r"kubernetes/(aio/|client/(api|models)/(?!__init__\.py))")
"""The typed half of Kubernetes' client, 73 of its 75 MB: ours goes without."""
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f".venv/lib/{PYTHON}/site-packages"
SCRIPTS = {
    "pachon": "from pachon.cli.main import main\nmain()\n",
    "pulumi-resource-pachon": "from infra.provider.main import main\nmain()\n",
    "ansible-playbook": "import sys\nfrom ansible.cli.playbook import main\nsys.exit(main())\n",
}
CURE = "run the same command again once nobody changes it"
SENDING = timedelta(minutes=10)
CLOSE_SECONDS = 2.0
"""For what was ended to go."""
Contents = Mapping[str, Path]
"""Path in the parcel to the file that goes there."""


def of_program(cache: Path, *, home: str) -> tuple[str, Path]:
    """Name and file of the parcel with this program, made if it is not in the cache; it will live in ``home``.

    Raises:
        TemporaryError: files of the program moved while they were packed.
    """
    contents = dict(_checkout()) | dict(_libraries())
    name = _name_of(home, contents)
    parcel = cache / "parcels" / f"program-{name}.tar.zst"
    if not parcel.exists():
        for old in parcel.parent.glob("program-*.tar.zst"):
            old.unlink(missing_ok=True)
        draft = parcel.with_name(f"draft-{os.getpid()}-{parcel.name}")
        try:
            with tempfile.TemporaryDirectory(prefix="pachon-") as scratch:
                pack(contents | dict(_surroundings(Path(scratch), home)), draft)
            moved = _name_of(home, contents) != name
        except FileNotFoundError as error:
            raise TemporaryError(f"this program moved while it was packed: {error}", cure=CURE) from error
        if moved:
            draft.unlink()
            raise TemporaryError("this program was edited while it was packed", cure=CURE)
        draft.replace(parcel)
    return name, parcel


def _name_of(home: str, contents: Contents) -> str:
    """What these files, as they are now, are called together."""
    stats = [(name, path.stat()) for name, path in sorted(contents.items())]
    made_of = [(name, told.st_size, told.st_mtime_ns) for name, told in stats]
    return digest([home, SCRIPTS, made_of])[:16]


def pack(contents: Contents, parcel: Path) -> None:
    """Pack these files; links are followed."""
    parcel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=parcel.parent, suffix=".tar", delete=False) as made:
        draft = Path(made.name)
    try:
        with tarfile.open(draft, "w", dereference=True) as archive:
            for name, path in sorted(contents.items()):
                archive.add(path, arcname=name, recursive=False, filter=_owned_by_root)
        asyncio.run(run(["zstd", "-q", "-f", "-3", "-T0", str(draft), "-o", f"{draft}.zst"], timeout=SENDING))
        Path(f"{draft}.zst").replace(parcel)
    finally:
        draft.unlink(missing_ok=True)
        Path(f"{draft}.zst").unlink(missing_ok=True)


async def lay_down(parcel: Path, place: str, *, ssh_config: Path, host: str, mode: str = "0755") -> None:
    """Have the parcel's content, and nothing else, be the folder ``place`` on that host.

    Raises:
        TemporaryError: the host broke off, or refused.
    """
    words = f"""set -e
draft={place}.new; rm -rf "$draft" {place}.old; mkdir -p "$draft"; chmod {mode} "$draft"
tar --extract --zstd --no-same-owner --directory "$draft" --file -
if [ -e {place} ]; then mv -T {place} {place}.old; fi
mv -T "$draft" {place}; rm -rf {place}.old
"""
    await _at(host, words, ssh_config=ssh_config, stdin=parcel)


async def add_file(path: Path, place: str, *, ssh_config: Path, host: str, mode: str = "0644") -> None:
    """Have the file be ``place`` on that host, unless one of its size is there (for files named by their content)."""
    size = path.stat().st_size
    words = f"""set -e
mkdir -p "$(dirname {place})"
if [ "$(stat -c %s {place} 2>/dev/null)" = {size} ]; then exit 0; fi
cat > {place}.new; [ "$(stat -c %s {place}.new)" = {size} ]; chmod {mode} {place}.new; mv {place}.new {place}
"""
    await _at(host, words, ssh_config=ssh_config, stdin=path)


async def ask(words: str, *, ssh_config: Path, host: str) -> str:
    """What these words of a shell, as root, printed there (errors as of ``lay_down``)."""
    return await _at(host, words, ssh_config=ssh_config, stdin=None)


async def _at(host: str, words: str, *, ssh_config: Path, stdin: Path | None) -> str:
    with _opened(stdin) as stream:
        process = await asyncio.create_subprocess_exec(
            "ssh",
            "-F",
            str(ssh_config),
            host,
            "sudo -n sh -c " + _quoted(words),
            stdin=stream,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            told, said = await asyncio.wait_for(process.communicate(), SENDING.total_seconds())
        except BaseException as error:
            if process.returncode is None:
                process.kill()
            if isinstance(error, TimeoutError):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), CLOSE_SECONDS)
                raise TemporaryError(
                    f"{host} has not taken what was sent within {SENDING.total_seconds() / 60:g} minutes",
                    cure="see that it answers ('pachon host ssh'); then run again",
                ) from error
            raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()[-4:]
        raise TemporaryError(
            f"{host} did not take what was sent: {'; '.join(lines) or f'status {process.returncode}'}",
            cure="see that it answers ('pachon host ssh') and has space on its disk; then run again",
        )
    return told.decode(errors="replace")


def _opened(path: Path | None) -> BinaryIO:
    return Path(path or os.devnull).open("rb")


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "'\\''") + "'"


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _checkout() -> Iterator[tuple[str, Path]]:
    for part in PARTS:
        top = places.CHECKOUT / part
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(places.CHECKOUT)), path
    for name in PLAIN:
        if (places.CHECKOUT / name).is_file():
            yield name, places.CHECKOUT / name


def _libraries() -> Iterator[tuple[str, Path]]:
    for name in sorted(_closure("pachon") - {"pachon"}):
        for file in importlib.metadata.distribution(name).files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and not PASSED_OVER.match(str(file)) and path.is_file():
                yield f"{LIBRARY}/{file}", path


def _closure(name: str) -> set[str]:
    """Distributions that one needs, itself included, by their normalised names."""
    found: set[str] = set()
    waiting = [(name, frozenset[str]())]
    while waiting:
        current, extras = waiting.pop()
        plain = re.sub(r"[-_.]+", "-", current).lower()
        if plain in found and not extras:
            continue
        found.add(plain)
        try:
            needs = importlib.metadata.requires(plain) or []
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingError(f"the Python package {plain} is not installed", cure="run 'make'") from error
        for need in map(Requirement, needs):
            wanted = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
            if wanted and need.name.lower() not in LEFT_OUT:
                waiting.append((need.name, frozenset(need.extras)))
    return found


def _surroundings(scratch: Path, home: str) -> Iterable[tuple[str, Path]]:
    """What makes the folder a checkout with its virtual environment."""
    texts = {
        ".venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n",
        f"{LIBRARY}/pachon.pth": f"{home}/src\n{home}\n",
    } | {f".venv/bin/{name}": f"#!{home}/.venv/bin/python\n{text}" for name, text in SCRIPTS.items()}
    for name, text in texts.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.startswith(".venv/bin/") else 0o644)
        os.utime(path, (0, 0))
        yield name, path
