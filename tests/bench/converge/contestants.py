"""The tools that race: how each is called to bring all hosts to what the role says, and what it leaves running."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pachon.places import CHECKOUT
from tests.bench.converge.endpoints import Endpoints

HERE = Path(__file__).resolve().parent
ROLE = "certificates"
"""The name under which the role is played: the product computes arguments for it that differ by host."""
FORKS = 50
OURS = "pachon"
OTHERS = ("ansible", "mitogen", "pyinfra")
LIMIT_SECONDS = 600
CONNECT_SECONDS = 180
"""As the product has it: fifty hosts that share a busy machine take long to let anybody in."""


@dataclass(frozen=True)
class Contestant:
    """One tool."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    sockets: Path | None = None
    """Where it leaves connections open when it ends."""

    def cool_down(self) -> None:
        """End the connections that it left open: every run begins without any."""
        for socket in [] if self.sockets is None else list(self.sockets.glob("*")):
            argv = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={socket}", "-O", "exit", "nobody"]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(argv, capture_output=True, timeout=10, check=False)
            socket.unlink(missing_ok=True)


def all_of_them(endpoints: Endpoints, scratch: Path, pyinfra: Path) -> list[Contestant]:
    """Ours is the last one; ``pyinfra`` is the program of that name."""
    python = Path(sys.executable)
    surroundings = {
        "HOME": os.environ["HOME"],
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join([str(python.parent), "/usr/sbin:/usr/bin:/sbin:/bin"]),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)]),
    }
    return [
        _ansible("ansible", endpoints, scratch, {**surroundings}),
        _ansible("mitogen", endpoints, scratch, {**surroundings}, strategy="mitogen_linear"),
        _pyinfra(endpoints, scratch, pyinfra, {**surroundings}),
        Contestant(
            OURS,
            (str(python), "-m", "tests.bench.converge.ours", str(endpoints.folder), str(endpoints.state)),
            {**surroundings, "PACHON_STATE": str(endpoints.state.parent)},
        ),
    ]


def _ansible(
    name: str, endpoints: Endpoints, scratch: Path, environment: dict[str, str], *, strategy: str = "linear"
) -> Contestant:
    work = scratch / strategy
    sockets = work / "cp"
    sockets.mkdir(parents=True)
    hosts = {
        host: {
            "ansible_host": address,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": f"-F {endpoints.state / 'ssh_config'}",
            "ansible_user": "pachon",
            "certificates_name": endpoints.full_name(host),
            "mitogen_ssh_compression": False,
        }
        for host, address in endpoints.addresses.items()
    }
    (work / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (work / "site.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [ROLE]}]))
    settings = {
        "forks": FORKS,
        "gathering": "explicit",
        "internal_poll_interval": 0.001,
        "local_tmp": work / "tmp",
        "nocows": True,
        "retry_files_enabled": False,
        "roles_path": CHECKOUT / "playbooks" / "roles",
        "strategy": strategy,
        "timeout": CONNECT_SECONDS,
    }
    if strategy.startswith("mitogen"):
        found = importlib.util.find_spec("ansible_mitogen")
        assert found is not None and found.origin is not None
        settings["strategy_plugins"] = Path(found.origin).parent / "plugins" / "strategy"
    lines = ["[defaults]", *(f"{key} = {value}" for key, value in settings.items())]
    lines += ["[connection]", "pipelining = True", "[inventory]", "enable_plugins = yaml", "[ssh_connection]"]
    lines += ["ssh_args = -o ControlMaster=auto -o ControlPersist=60s", f"control_path_dir = {sockets}", ""]
    (work / "ansible.cfg").write_text("\n".join(lines))
    return Contestant(
        name,
        (sys.executable, "-m", "ansible", "playbook", "-i", str(work / "hosts.yml"), str(work / "site.yml")),
        {**environment, "ANSIBLE_CONFIG": str(work / "ansible.cfg"), "ANSIBLE_HOME": str(work / "home")},
        sockets=sockets,
    )


def _pyinfra(endpoints: Endpoints, scratch: Path, program: Path, environment: dict[str, str]) -> Contestant:
    work = scratch / "pyinfra"
    work.mkdir()
    shared = {
        "ssh_user": "pachon",
        "ssh_key": str(endpoints.state / "keys" / "automation"),
        "ssh_known_hosts_file": str(endpoints.state / "known_hosts_plain"),
        "ssh_strict_host_key_checking": "yes",
    }
    hosts = [
        (address, {**shared, "certificates_name": endpoints.full_name(host)})
        for host, address in endpoints.addresses.items()
    ]
    (work / "inventory.py").write_text(f"hosts = {hosts!r}\n")
    environment.pop("PYTHONPATH")
    return Contestant(
        "pyinfra",
        (
            str(program),
            "-y",
            "--parallel",
            str(FORKS),
            str(work / "inventory.py"),
            str(HERE / "pyinfra_deploy.py"),
        ),
        environment,
    )


@contextmanager
def serving(endpoints: Endpoints, ours: Contestant, *, join: Callable[[], None]) -> Iterator[None]:
    """``pachon serve`` for the length of a block, from its first look on."""
    log = endpoints.logs / "serve.log"
    argv = [sys.executable, "-c", "from pachon.cli.main import main; main()", "serve", "--every", "600"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            env={**ours.environment, "PACHON_FACILITY": str(endpoints.folder)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=join,  # noqa: PLW1509  # no thread has been started
        )
    try:
        until = time.monotonic() + LIMIT_SECONDS
        while " round " not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"'pachon serve' has not looked at the hosts:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
