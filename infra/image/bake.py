"""Bakes all that a flavour needs, doing only what is not there yet.

    base ──▶ server ──▶ switch      trees: mmdebstrap, then playbooks/image.yml
      │         └──────────┴──▶ root     raw ext4 per flavour
      ├──▶ kernel                    boot loader, kernel, modules
      └──▶ deploy                    the deploy image

``ensure`` is all that others need.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.image import deploy, disk, esp, modules, programs, recipe, tree
from infra.image.artefact import Artefact, ImageSet, verify
from infra.image.chamber import inside
from infra.image.keys import AGENT, Keys, keys, roles_beyond_server
from infra.image.play import play
from infra.image.shelf import Shelf
from pachon.errors import MissingError, UsageError
from pachon.progress import Event, Progress, silent

PROGRAMS = (
    "apt-get",
    "chroot",
    "debugfs",
    "depmod",
    "dpkg-deb",
    "dpkg-query",
    "dumpe2fs",
    "mke2fs",
    "mmdebstrap",
    "objcopy",
    "setpriv",
    "tar",
    "unshare",
    "zstd",
)
KERNEL_NAME = "kernel.tar.zst"
DEPLOY_NAME = "deploy.efi"
STAGE = "images"


def missing() -> list[str]:
    """What this machine lacks for baking; empty when it can."""
    lacks = [f"the program {program}" for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        lacks.append("the right to be root (chroot, mounts in a namespace of its own)")
    return lacks


def ensure(flavour: str, *, cache: Path, progress: Progress = silent, full_check: bool = False) -> ImageSet:
    """The images of a flavour, baked if they are not in the cache. Blocks: from a coroutine use ``asyncio.to_thread``.

    Sizes are checked always, content with ``full_check``.

    Raises:
        UsageError: there is no such flavour.
        MissingError: something has to be baked and this machine cannot.
        PermanentError: a step failed, or content is not what its digest says.
    """
    if flavour not in recipe.FLAVOURS:
        raise UsageError(f"there is no flavour {flavour!r}", cure=f"take one of {', '.join(recipe.FLAVOURS)}")
    shelf, wanted = Shelf(cache), keys(flavour)
    images = _found(shelf, flavour, wanted)
    if images is None:
        lacks = missing()
        if lacks:
            raise MissingError(
                f"images cannot be baked here: this machine lacks {', '.join(lacks)}", cure="see 'pachon doctor'"
            )
        with shelf.held(lambda: progress(Event(STAGE, flavour, "moving", "another bake is running: waiting for it"))):
            Baker(shelf, flavour, wanted, cache=cache, progress=progress).bake()
            images = _found(shelf, flavour, wanted)
        if images is None:
            raise MissingError("the images vanished while they were baked", cure="run again")
    else:
        progress(Event(STAGE, flavour, "unchanged", "baked earlier from the same inputs"))
    if full_check:
        verify(images)
    return images


def _found(shelf: Shelf, flavour: str, wanted: Keys) -> ImageSet | None:
    """The set, when every part of it is in the cache."""
    root = shelf.artefact(f"root-{flavour}", wanted.root)
    kernel = shelf.artefact("kernel", wanted.kernel)
    image = shelf.artefact("deploy", wanted.deploy)
    packages = shelf.artefact("packages", wanted.base)
    version = shelf.artefact("kernel-version", wanted.kernel)
    if root is None or kernel is None or image is None or packages is None or version is None:
        return None
    return ImageSet(
        flavour=flavour,
        root=root,
        kernel=kernel,
        deploy=image,
        kernel_version=version.path.read_text().strip(),
        packages_digest=packages.digest,
        packages=packages.path,
    )


class Baker:
    """One bake, with the trees that it has unpacked so far; the shelf is held."""

    def __init__(self, shelf: Shelf, flavour: str, wanted: Keys, *, cache: Path, progress: Progress) -> None:
        self._shelf = shelf
        self._cache = cache
        self._flavour = flavour
        self._keys = wanted
        self._progress = progress
        self._unpacked: dict[Path, Path] = {}
        self._kernel: tuple[modules.Kernel, Path] | None = None

    def bake(self) -> None:
        """Make what is not there."""
        shelf, wanted = self._shelf, self._keys
        if shelf.artefact("packages", wanted.base) is None:
            self._packages()
        if shelf.artefact("deploy", wanted.deploy) is None:
            self._deploy()
        if shelf.artefact("kernel", wanted.kernel) is None or shelf.artefact("kernel-version", wanted.kernel) is None:
            self._make_kernel()
        if shelf.artefact(f"root-{self._flavour}", wanted.root) is None:
            self._root()
        shelf.prune(time.time())

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Tell of a step's beginning and end; gives the function that tells of what happens in between."""
        began = time.monotonic()
        self._progress(Event(STAGE, name, "started"))
        try:
            yield lambda line: self._progress(Event(STAGE, name, "moving", line))
        except BaseException as error:
            self._progress(Event(STAGE, name, "failed", str(error)))
            raise
        self._progress(Event(STAGE, name, "done", f"{time.monotonic() - began:.1f} s"))

    def _base(self) -> Path:
        found = self._shelf.stage("base", self._keys.base)
        if found is not None:
            return found
        with self._step("base") as tell:
            work = self._shelf.work("base")
            made = work / "made"
            tree.make_base(made, work=work, on_line=lambda line: tell(line) if line.startswith("I: ") else None)
            return self._shelf.put_stage("base", self._keys.base, made)

    def _server(self) -> Path:
        return self._shelf.stage("server", self._keys.server) or self._played(
            "server", self._keys.server, self._base(), recipe.FLAVOURS["server"]
        )

    def _tree(self) -> Path:
        extra = roles_beyond_server(self._flavour)
        if not extra and self._flavour not in recipe.FLAVOUR_PACKAGES:
            return self._server()
        name, key = f"tree-{self._flavour}", self._keys.tree
        return self._shelf.stage(name, key) or self._played(
            name, key, self._server(), extra, packages=self._flavour in recipe.FLAVOUR_PACKAGES
        )

    def _played(self, name: str, key: str, ground: Path, roles: tuple[str, ...], *, packages: bool = False) -> Path:
        """The stage with the flavour's packages installed and the roles played upon another stage's tree."""
        with self._step(name) as tell:
            work = self._shelf.work(name)
            made, place = work / "made", work / "tree"
            made.mkdir()
            tree.unpack(ground / tree.ARCHIVE, place)
            if packages:
                tree.install(place, self._flavour, on_line=tell)
                programs.lay(place, self._flavour, cache=self._cache, progress=self._progress)
            if roles:
                play(place, roles, work=work, on_line=lambda line: tell(line) if line.startswith("TASK ") else None)
            tree.clean(place)
            tree.pack(place, made / tree.ARCHIVE)
            return self._shelf.put_stage(name, key, made)

    def _packages(self) -> None:
        listed = self._base() / tree.PACKAGES
        draft = self._shelf.work("packages") / "packages"
        shutil.copy(listed, draft)
        self._record("packages", self._keys.base, draft, "packages.txt", raw_size_bytes=listed.stat().st_size)

    def _root(self) -> None:
        name = f"root-{self._flavour}"
        place = self._unpack(self._tree())
        with self._step(name):
            work = self._shelf.work(name)
            raw, packed = work / "root.ext4", work / "root.ext4.zst"
            disk.make_root(place, raw)
            digest = disk.compress(raw, packed)
            size = raw.stat().st_size
            self._record(name, self._keys.root, packed, f"{name}.ext4.zst", raw_size_bytes=size, raw_digest=digest)

    def _make_kernel(self) -> None:
        kernel, boot = self._unpacked_kernel()
        place = self._unpack(self._base())
        with self._step("kernel"):
            work = self._shelf.work("kernel")
            packed, version = work / KERNEL_NAME, work / "version"
            size, raw_digest = esp.make_kernel(place, kernel, boot, packed, work=work)
            self._record("kernel", self._keys.kernel, packed, KERNEL_NAME, raw_size_bytes=size, raw_digest=raw_digest)
            version.write_text(kernel.version + "\n")
            self._record("kernel-version", self._keys.kernel, version, "kernel-version.txt", raw_size_bytes=0)

    def _deploy_ground(self) -> Path:
        found = self._shelf.stage("deploy-ground", self._keys.deploy_ground)
        if found is not None:
            return found
        kernel, boot = self._unpacked_kernel()
        place = self._unpack(self._base())
        with self._step("deploy-ground"):
            made = self._shelf.work("deploy-ground") / "made"
            deploy.make_ground(place, kernel, boot, made)
            return self._shelf.put_stage("deploy-ground", self._keys.deploy_ground, made)

    def _deploy(self) -> None:
        ground = self._deploy_ground()
        with self._step("deploy"):
            work = self._shelf.work("deploy")
            image = work / DEPLOY_NAME
            size = deploy.make_deploy(ground, image, agent=AGENT, work=work)
            self._record("deploy", self._keys.deploy, image, DEPLOY_NAME, raw_size_bytes=size)

    def _record(
        self, what: str, key: str, made: Path, name: str, *, raw_size_bytes: int, raw_digest: str = ""
    ) -> Artefact:
        artefact = self._shelf.put_artefact(made, name, raw_size_bytes=raw_size_bytes, raw_digest=raw_digest or None)
        self._shelf.record(what, key, artefact)
        return artefact

    def _unpack(self, stage: Path) -> Path:
        """The tree of a stage, unpacked for this bake."""
        if stage not in self._unpacked:
            place = self._shelf.work("unpacked") / "tree"
            tree.unpack(stage / tree.ARCHIVE, place)
            self._unpacked[stage] = place
        return self._unpacked[stage]

    def _unpacked_kernel(self) -> tuple[modules.Kernel, Path]:
        """The kernel and the boot loader's package, unpacked for this bake."""
        if self._kernel is None:
            debs = self._base() / tree.DEBS
            work = self._shelf.work("kernel")
            boot = work / "boot"
            boot.mkdir()
            for package in sorted(debs.glob("systemd-boot-efi_*.deb")):
                inside(["dpkg-deb", "-x", package, boot])
            self._kernel = (modules.unpack(debs, work / "package"), boot)
        return self._kernel
