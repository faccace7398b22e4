"""The settings that our own plays run under: one generated ansible.cfg, and nothing of the user's own."""

import importlib.util
import os
import sys
from pathlib import Path

from pachon import places

STRATEGY_VARIABLE = "PACHON_ANSIBLE_STRATEGY"
"""Setting: ``linear`` plays without mitogen, over SSH with pipelining."""
STRATEGIES = ("mitogen_linear", "linear")
CONNECT_SECONDS = 180
"""A host that was booted a moment ago beside twenty others, or has an emulated processor, takes long to let us in."""
FORKS = 24
CONNECTION = {
    "mitogen_ssh_compression": False,
    "mitogen_ssh_keepalive_count": 6,
    "mitogen_ssh_keepalive_interval": 10,
}
"""Variables of every host: a site's network is fast, and who dies in the middle of a play is given up in a minute."""
PLUGINS = places.CHECKOUT / "playbooks" / "plugins"
ROLES = places.CHECKOUT / "playbooks" / "roles"


def strategy() -> str:
    """The strategy that is set, mitogen's unless it is another one that there is."""
    wanted = os.environ.get(STRATEGY_VARIABLE, "")
    return wanted if wanted in STRATEGIES else STRATEGIES[0]


def configuration(work: Path, chosen: str, *, roles: Path = ROLES) -> str:
    """Text of the ansible.cfg for plays whose files lie in ``work``."""
    settings = {
        "action_plugins": PLUGINS / "action",
        "callback_plugins": PLUGINS / "callback",
        "deprecation_warnings": False,
        "forks": FORKS,
        "gathering": "explicit",
        "host_key_checking": True,
        "local_tmp": work / "tmp",
        "localhost_warning": False,
        "lookup_plugins": PLUGINS / "lookup",
        "nocolor": True,
        "nocows": True,
        "retry_files_enabled": False,
        "roles_path": roles,
        "stdout_callback": "pachon_lines",
        "strategy": chosen,
        "timeout": CONNECT_SECONDS,
    }
    if chosen.startswith("mitogen"):
        settings["strategy_plugins"] = _mitogen() / "plugins" / "strategy"
    lines = [f"{key} = {value}" for key, value in sorted(settings.items())]
    return "\n".join(
        ["[defaults]", *lines, "", "[connection]", "pipelining = True", "", "[inventory]", "enable_plugins = yaml", ""]
    )


def environment(work: Path) -> dict[str, str]:
    """All that the process sees beside its settings file; no secret is among it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    kept = {key: os.environ[key] for key in ("HOME", "TMPDIR", "USER") if key in os.environ}
    return {
        **kept,
        **places.imports(),
        "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
        "ANSIBLE_HOME": str(work / "home"),
        "LC_ALL": "C.UTF-8",
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
    }


def _mitogen() -> Path:
    found = importlib.util.find_spec("ansible_mitogen")
    assert found is not None and found.origin is not None, "mitogen is a dependency of this package"
    return Path(found.origin).parent
