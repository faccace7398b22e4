"""Runs ``ansible-playbook`` on a generated play file: these roles on these hosts, in this order, and nothing else.

Hidden here: the files that Ansible wants (settings, inventory, plays), and that all its processes end with it:
its workers leave our process group, so they are told by a mark in their environment.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pachon.drivers import program
from pachon.drivers.ansible import lines, settings
from pachon.drivers.ansible.lines import Line
from pachon.errors import PermanentError
from pachon.processes import run_group

LONGEST = timedelta(minutes=30)
"""Of one run of plays, whatever hangs."""
ENDED_WELL = (0, 2, 4)
"""Exit statuses that tell of hosts: all right, some failed, some unreachable."""
KEPT_LINES = 12
GENTLY = ("nice", "-n", "5")
"""Whoever answers machines that are being deployed (boot service, a lab's BMCs) comes first."""


@dataclass(frozen=True)
class Part:
    """One role on some hosts: one play."""

    role: str
    hosts: tuple[str, ...]
    host_only: bool
    """Only ``tasks/host.yml``: the rest of the role is in the hosts' image."""

    @property
    def name(self) -> str:
        """Name of the play."""
        return self.role if self.host_only else f"{self.role} (whole)"

    @property
    def as_play(self) -> dict[str, Any]:
        """The play, as in a play file."""
        play: dict[str, Any] = {"name": self.name, "hosts": list(self.hosts), "become": True, "gather_facts": False}
        if self.host_only:
            play["tasks"] = [
                {
                    "name": f"Play what is the host's own of {self.role}",
                    "ansible.builtin.import_role": {"name": self.role, "tasks_from": "host"},
                }
            ]
        else:
            play["roles"] = [{"role": self.role}]
        return play


@dataclass(frozen=True)
class Playbook:
    """What is to be played."""

    work: Path
    """Folder of its own, made anew for each run of plays."""
    parts: tuple[Part, ...]
    variables: Mapping[str, Mapping[str, object]]
    """By host. No secret is among them: roles read secrets by name."""
    roles: Path = settings.ROLES
    """Folder of the roles."""
    skipped_tags: tuple[str, ...] = ()
    """Tasks with one of these tags are left out."""


async def play(book: Playbook, *, run_id: str, on_line: Callable[[Line], None]) -> str:
    """Ansible's own last words, once all plays have ended; what came of them was told to ``on_line`` as it happened.

    Raises:
        PermanentError: ansible-playbook itself failed (a mistake in a role, say).
        TemporaryError: it took too long.
    """
    _write(book)
    mark = f"{run_id}-play-{secrets.token_hex(4)}"
    words: list[str] = []

    def heard(text: str) -> None:
        line = lines.read(text)
        if line is not None:
            on_line(line)
        elif text.strip():
            words.append(text.strip())
            del words[:-KEPT_LINES]

    argv = [*GENTLY, sys.executable, "-m", "ansible", "playbook", "-i", str(book.work / "inventory.yml")]
    argv += [f"--skip-tags={','.join(book.skipped_tags)}"] if book.skipped_tags else []
    argv += [str(_plays(book))]
    variables = {**settings.environment(book.work), **run_group.marked(run_id), run_group.PART_MARKER: mark}
    try:
        done = await program.run(
            argv, timeout=LONGEST, environment=variables, folder=book.work, on_line=heard, check=False
        )
    finally:
        await asyncio.to_thread(run_group.end_part, mark)
    said = " ".join(words)
    if done.status not in ENDED_WELL:
        raise PermanentError(
            f"ansible-playbook ended with status {done.status}: {said}",
            cure=f"mend the role; its files are in {book.work}",
        )
    return said


def _plays(book: Playbook) -> Path:
    return book.work / "plays.yml"


def _write(book: Playbook) -> None:
    """Write the files; JSON is YAML."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(book.work)
    book.work.mkdir(mode=0o700, parents=True)
    hosts = {name: {**settings.CONNECTION, **variables} for name, variables in sorted(book.variables.items())}
    (book.work / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}, indent=1))
    _plays(book).write_text(json.dumps([part.as_play for part in book.parts], indent=1))
    (book.work / "ansible.cfg").write_text(settings.configuration(book.work, settings.strategy(), roles=book.roles))
    for path in book.work.iterdir():
        path.chmod(0o600)
