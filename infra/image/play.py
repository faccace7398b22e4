"""Runs our own playbooks in a tree."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.image import recipe
from infra.image.chamber import inside
from pachon.drivers.program import Line
from pachon.errors import PermanentError
from pachon.places import CHECKOUT

HOST = "image"
PROGRAM = (sys.executable, "-m", "ansible", "playbook")
TAG = "image"
"""Of the tasks that are baked: those of a role's ``tasks/image.yml``."""


def play(tree: Path, roles: Sequence[str], *, work: Path, on_line: Line | None = None) -> dict[str, int]:
    """Ansible's counts after ``playbooks/image.yml`` with these roles: ok, changed, skipped and so on.

    Raises:
        PermanentError: a task failed; says which and why.
    """
    inventory, record = work / "inventory.json", work / "record.json"
    variables = {
        "ansible_connection": "chroot_tree",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": "/tmp/ansible",
        "chroot_tree": str(tree),
    }
    groups = {role: {"hosts": {HOST: variables}} for role in roles}
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    try:
        inside(
            [*PROGRAM, "-i", inventory, "--tags", TAG, CHECKOUT / "playbooks" / "image.yml"],
            tree=tree,
            environment={
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "ANSIBLE_HOME": str(work / "ansible"),
                "ANSIBLE_LOCAL_TEMP": str(work / "ansible-tmp"),
                "ANSIBLE_NOCOLOR": "1",
                "PACHON_ANSIBLE_RECORD": str(record),
                "PYTHONDONTWRITEBYTECODE": "1",
                "SOURCE_DATE_EPOCH": str(recipe.EPOCH_SECONDS),
            },
            folder=CHECKOUT,
            on_line=on_line,
        )
    except PermanentError as error:
        failed = json.loads(record.read_text())["failed"] if record.exists() else []
        tasks = "; ".join(f"{task['task']}: {task['reason']}" for task in failed) or str(error)
        raise PermanentError(f"playbooks/image.yml failed in the tree: {tasks}", cure="mend the role") from error
    counts: dict[str, int] = json.loads(record.read_text())["hosts"].get(HOST, {})
    return counts
