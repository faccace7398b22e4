"""Makes, unpacks, cleans and packs operating system trees."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from infra.image import apt, recipe
from infra.image.chamber import FILES, inside
from pachon.drivers.program import Line

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
KEEPING = ("--numeric-owner", "--xattrs", "--xattrs-include=*")
HOOKS = ("purge-packages.sh", "fetch-boot-packages.sh")
ARCHIVE = "tree.tar.zst"
PACKAGES = "packages"
DEBS = "debs"
REMOVED = (
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/ssh/ssh_host_*",
    "root/.ansible*",
    "usr/lib/ssl/private/*",
    "var/backups/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/random-seed",
    "var/lib/ucf/cache/*",
    "var/log/apt/*",
    "var/log/*.log",
)
"""Left by installing and playing; nothing that a role sets."""
STAMPS = ("etc/.updated", "var/.updated")
"""Tell systemd that nothing has to be brought up to date at first boot."""


def make_base(target: Path, *, work: Path, on_line: Line) -> None:
    """Fill ``target``: the base tree packed, the list of its packages, the kernel and boot packages."""
    tree, debs = work / "tree", target / DEBS
    debs.mkdir(parents=True)
    options = [f"--include={','.join(recipe.PACKAGES)}", f"--keyring={KEYRING}"]
    options += [f"--dpkgopt=path-exclude={path}" for path in recipe.PRUNED]
    options += [f"--dpkgopt=path-include={path}" for path in recipe.KEPT]
    options += ['--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Retries "5"']
    options += [f"--customize-hook={FILES / script}" for script in HOOKS]
    program = ("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory")
    inside(
        [*program, *options, recipe.SUITE, str(tree), *apt.sources(recipe.SUITE)],
        environment={
            "PACHON_BOOT_PACKAGES": " ".join(recipe.BOOT_PACKAGES),
            "PACHON_DEBS": str(debs),
            "PACHON_KERNEL": recipe.KERNEL_PACKAGE,
            "PACHON_PURGED": " ".join(recipe.PURGED),
            "SOURCE_DATE_EPOCH": str(recipe.EPOCH_SECONDS),
            "TMPDIR": str(work),
        },
        on_line=on_line,
    )
    (tree / "etc" / "resolv.conf").unlink(missing_ok=True)
    listed = inside(["dpkg-query", f"--admindir={tree}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"]).stdout
    (target / PACKAGES).write_text(listed)
    clean(tree)
    pack(tree, target / ARCHIVE)


def install(tree: Path, flavour: str, *, on_line: Line) -> None:
    """Put the packages of a flavour into a tree that has those of all."""
    inside(
        ["sh", FILES / "install-packages.sh", tree, *recipe.FLAVOUR_PACKAGES[flavour]],
        tree=tree,
        environment={
            "DEBIAN_FRONTEND": "noninteractive",
            "PACHON_ACCOUNTS": " ".join(f"{name}:{number}" for name, number in recipe.ACCOUNTS.items()),
            "PACHON_KEPT": " ".join(recipe.FLAVOUR_KEPT.get(flavour, ())),
            "PACHON_PRUNED": " ".join(recipe.FLAVOUR_PRUNED.get(flavour, ())),
            "PACHON_WHOLE": " ".join(recipe.FLAVOUR_WHOLE.get(flavour, ())),
            "PACHON_SOURCES": "\n".join(apt.sources(recipe.SUITE)),
            "SOURCE_DATE_EPOCH": str(recipe.EPOCH_SECONDS),
        },
        on_line=on_line,
    )


def clean(tree: Path) -> None:
    """Remove what is not of the image, and give everything newer than the recipe its time stamp."""
    for path in _matches(tree, REMOVED):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name in ("tmp", "var/tmp", "run", "dev", "proc", "sys"):
        for path in (tree / name).iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    machine_id = tree / "etc" / "machine-id"
    machine_id.write_bytes(b"")
    for stamp in STAMPS:
        (tree / stamp).write_bytes(b"")
    moment = (recipe.EPOCH_SECONDS, recipe.EPOCH_SECONDS)
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files, "."):
            entry = f"{folder}/{name}"
            if os.lstat(entry).st_mtime > recipe.EPOCH_SECONDS:
                os.utime(entry, moment, follow_symlinks=False)


def pack(tree: Path, archive: Path) -> None:
    """Write the tree as a tar archive in zstd, the same bytes for the same tree."""
    inside(["tar", "--sort=name", *KEEPING, "-I", "zstd -T0 -3", "-cf", archive, "-C", tree, "."])


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a tree."""
    tree.mkdir()
    inside(["tar", *KEEPING, "-I", "zstd", "-xpf", archive, "-C", tree])


def _matches(tree: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(tree.glob(pattern))]
