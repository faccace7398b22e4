"""Puts what is no package into a flavour's tree: programs that the toolchain builds, and images of containers.

Which, is in the recipe. They are made when an image with them is baked, and not before.
"""

import os
import shutil
from pathlib import Path

from infra.image import oci, recipe
from infra.toolchain import programs
from infra.toolchain.obtain import obtain
from pachon.progress import Progress

FOLDER = "usr/bin"
CONTAINERS = "usr/lib/pachon/containers"
PAUSE_SECONDS = 1 << 31
"""What stands for ever in a pod sleeps for 68 years."""


def inputs(flavour: str) -> list[object]:
    """What decides about them, for the key of the flavour's tree; nothing where there are none."""
    wanted, containers = recipe.FLAVOUR_PROGRAMS.get(flavour, {}), recipe.FLAVOUR_CONTAINERS.get(flavour, ())
    if not wanted and not containers:
        return []
    known = programs.table()
    made_from = sorted({*wanted, *containers} & {*known})
    return [dict(wanted), containers, [programs.home(known[name], cache=Path()).name for name in made_from]]


def lay(tree: Path, flavour: str, *, cache: Path, progress: Progress) -> None:
    """Put them into the tree.

    Raises:
        MissingError: a program is not there and cannot be built.
    """
    for name, links in recipe.FLAVOUR_PROGRAMS.get(flavour, {}).items():
        _install(_program(name, cache=cache, progress=progress), tree / FOLDER / name)
        for link in links:
            (tree / FOLDER / link).symlink_to(name)
    for name in recipe.FLAVOUR_CONTAINERS.get(flavour, ()):
        folder = tree / CONTAINERS
        folder.mkdir(parents=True, exist_ok=True)
        oci.write(_container(name, tree, cache=cache, progress=progress), folder / f"{name}.tar")
        (folder / f"{name}.tar").chmod(0o644)


def _program(name: str, *, cache: Path, progress: Progress) -> Path:
    return obtain(programs.table()[name], cache=cache, progress=progress).path


def _install(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)
    os.chown(target, 0, 0)


def _container(name: str, tree: Path, *, cache: Path, progress: Progress) -> oci.Container:
    if name == "pause":
        return oci.Container(
            name="pachon.local/pause:1",
            files={"busybox": (tree / FOLDER / "busybox").read_bytes()},
            command=("/busybox", "sleep", str(PAUSE_SECONDS)),
        )
    program = programs.table()[name]
    return oci.Container(
        name=f"pachon.local/{name}:{program.version}",
        files={name: _program(name, cache=cache, progress=progress).read_bytes()},
        command=(f"/{name}",),
    )
