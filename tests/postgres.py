"""A PostgreSQL server of our own: unprivileged, on a socket in a folder that goes with it, ended by its number."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

USER = "pachon"
SECRET = "only-for-these-tests"
NOBODY = 65534
SETTINGS = ("listen_addresses=", "fsync=off", "shared_buffers=16MB", "max_connections=120", "max_wal_size=64MB")


@dataclass(frozen=True)
class Server:
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def plain_address(self) -> str:
        """As a person gives it."""
        return f"postgresql://{USER}@/postgres?host={self.folder / 'socket'}"

    def address(self, schema: str) -> str:
        """As ``places.store`` makes it."""
        return f"{self.plain_address}&{urlencode({'schema': schema, 'password_file': str(self.password_file)})}"


def programs() -> Path | None:
    """Folder of the server's programs, of the newest version that is here."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="t-pg-"))
    process = None
    try:
        for name in ("data", "socket"):
            (folder / name).mkdir(mode=0o700)
        secret = folder / "password"
        secret.write_text(f"{SECRET}\n")
        secret.chmod(0o600)
        given = folder / "first-password"
        shutil.copy(secret, given)
        own: tuple[str, ...] = ()
        if os.geteuid() == 0:
            folder.chmod(0o755)
            for path in (folder / "data", folder / "socket", given):
                os.chown(path, NOBODY, NOBODY)
            own = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        # It ends with us, whatever ends us.
        prefix = ("setpriv", "--pdeathsig", "SIGQUIT", *own)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [
                *(*prefix, str(programs / "initdb"), "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"),
                *(f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={given}", f"--pgdata={folder / 'data'}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
        )
        options = [
            word for setting in (*SETTINGS, f"unix_socket_directories={folder / 'socket'}") for word in ("-c", setting)
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*prefix, str(programs / "postgres"), "-D", str(folder / "data"), *options],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=folder,
            )
        _wait_until_ready(folder, process)
        yield Server(folder, process)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    pidfile = folder / "data" / "postmaster.pid"
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text())
        with contextlib.suppress(OSError, IndexError):
            if pidfile.read_text().splitlines()[7].strip() == "ready":
                return
        time.sleep(0.05)
    raise RuntimeError("the server is not ready: " + (folder / "log").read_text())
