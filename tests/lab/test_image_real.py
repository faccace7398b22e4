"""The baked images at work: played, booted, and left in the middle by a kill."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.image import bake, cpio, disk, recipe, tree, uki
from infra.image.artefact import Artefact, ImageSet, file_digest
from infra.image.play import play
from pachon.places import cache
from pachon.progress import silent

pytestmark = pytest.mark.real
HERE = Path(__file__).parent
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return bake.ensure("server", cache=cache(), progress=silent)


def run(*argv: str | Path, check: bool = True) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def until(what: str, found: Callable[[], bool]) -> None:
    """Wait for a callable to give something true."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not found():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def processes_with(word: str) -> list[int]:
    """Processes that have this word in their command line, but for ourselves."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@contextlib.contextmanager
def tree_of(image: Artefact, folder: Path, *, part: str = ".") -> Iterator[Path]:
    """The files of a root image, to be changed at will: the cache may no longer have what the image was made of."""
    raw, place, copied = folder / "raw.ext4", folder / "mounted", folder / "tree"
    run("zstd", "-q", "-d", image.path, "-o", raw)
    place.mkdir()
    run("mount", "-t", "ext4", "-o", "loop,ro,noload", raw, place)
    try:
        run("cp", "--archive", place / part, copied)
    finally:
        run("umount", place)
        raw.unlink()
    shutil.rmtree(copied / "lost+found", ignore_errors=True)
    try:
        yield copied
    finally:
        shutil.rmtree(copied)


def test_playing_all_roles_again_changes_nothing(tmp_path: Path) -> None:
    image = bake.ensure("switch", cache=cache(), progress=silent).root
    with tree_of(image, tmp_path) as found:
        counts = play(found, recipe.FLAVOURS["switch"], work=tmp_path)
    assert counts["changed"] == 0
    assert counts["ok"] > 5
    assert counts["failures"] == 0


@pytest.fixture
def container(images: ImageSet, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    raw, place, login = tmp_path / "root.ext4", tmp_path / "root", tmp_path / "keys"
    place.mkdir()
    login.mkdir()
    run("zstd", "-q", "-d", images.root.path, "-o", raw)
    for name in ("host", "ca", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", login / name)
    run("ssh-keygen", "-q", "-s", login / "ca", "-I", "test", "-n", "automation", "-V", "+1h", login / "user.pub")
    os.truncate(raw, raw.stat().st_size + (64 << 20))
    with (tmp_path / "console").open("wb") as console:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--net", HERE / "image_container.sh", raw, place, login],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            process.wait(60)


def test_the_root_image_boots_to_a_trusted_login_by_certificate(
    container: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    login = tmp_path / "keys"
    words = ("nsenter", f"--net=/proc/{container.pid}/ns/net", "ssh", "-F", "none", "-o", "BatchMode=yes")
    known = tmp_path / "known_hosts"
    known.write_text(f"127.0.0.1 {(login / 'host.pub').read_text()}")
    trust = ("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5")

    def ssh(user: str, *command: str) -> subprocess.CompletedProcess[str]:
        argv = (*words, *trust, "-i", str(login / "user"), f"{user}@127.0.0.1", *command)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def answers() -> bool:
        assert container.poll() is None, (tmp_path / "console").read_text(errors="replace")
        return ssh("pachon", "true").returncode == 0

    until("a login", answers)
    assert ssh("pachon", "systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    assert ssh("pachon", "sudo", "-n", "id", "-u").stdout.strip() == "0"
    assert ssh("root", "true").returncode != 0, "root must not get in"
    assert ssh("pachon", "sudo -n ls -A /var/log/journal").stdout == "", "the journal is in memory"


def test_the_deploy_image_starts_the_agent_with_all_that_it_calls(images: ImageSet, tmp_path: Path) -> None:
    section = uki.sections(images.deploy.path)[".initrd"]
    packed = tmp_path / "initrd.zst"
    with images.deploy.path.open("rb") as stream:
        stream.seek(section.offset)
        packed.write_bytes(stream.read(section.size))
    archive = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout
    assert {"init", "usr/lib/pachon/agent/main.py", "etc/udhcpc/default.script"} <= set(cpio.names(archive))
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["cpio", "--quiet", "-id", "--no-absolute-filenames"], input=archive, cwd=root, check=True)
    modules = "ctypes, hashlib, http.client, json, ssl, subprocess, threading, urllib.parse, zlib"
    assert run("chroot", root, "/usr/bin/python3", "-I", "-c", f"import {modules}; print('fine')") == "fine\n"
    for program in ("sfdisk", "mkfs.ext4", "mkfs.vfat", "ssh-keygen", "partx", "wipefs", "resize2fs", "tune2fs", "ip"):
        run("chroot", root, "/usr/bin/which", program)
    run("chroot", root, "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")
    said = run(
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--directory", root),
        *("--console=pipe", "--as-pid2", "/init"),
        check=False,
    )
    assert "starting the agent" in said
    assert "no orders" in said, "the agent itself spoke"


KILLED = """
import sys
from pathlib import Path
from infra.image.chamber import inside
inside(["sleep", sys.argv[2]], tree=Path(sys.argv[1]))
"""


def test_a_killed_bake_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    for name in ("dev", "proc", "run", "tmp"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    word = f"86400.{os.getpid()}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "tree", word])
    until("the program in the chamber", lambda: len(processes_with(word)) >= 3)
    process.kill()
    process.wait()
    until("the end of all processes", lambda: not processes_with(word))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    shutil.rmtree(tmp_path / "tree")


def test_the_same_tree_gives_the_same_file_system(images: ImageSet, tmp_path: Path) -> None:
    archive, digests = tmp_path / "tree.tar.zst", set()
    with tree_of(images.root, tmp_path, part="usr/bin") as found:
        tree.pack(found, archive)
    for number in range(2):
        place, raw = tmp_path / f"tree{number}", tmp_path / f"root{number}.ext4"
        tree.unpack(archive, place)
        disk.make_root(place, raw)
        shutil.rmtree(place)
        digests.add(file_digest(raw))
        run("e2fsck", "-f", "-n", raw)
    assert len(digests) == 1
