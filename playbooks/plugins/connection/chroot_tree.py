"""Runs plays in an operating system tree instead of on a host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: chroot_tree
short_description: Run plays in an operating system tree
description:
  - Commands run in the tree by chroot, files are copied straight into it.
  - The caller has mounted the API file systems in the tree, in a namespace of its own.
author: Pachon
version_added: "0.1"
options:
  tree:
    description: Folder of the tree.
    type: path
    required: true
    vars:
      - name: chroot_tree
"""


class Connection(ConnectionBase):
    """A tree that plays can run in."""

    transport = "chroot_tree"
    has_pipelining = True
    has_tty = False

    def _connect(self) -> Connection:
        super()._connect()
        tree = Path(self.get_option("tree"))
        if os.geteuid() != 0:
            raise AnsibleConnectionFailure("only root can chroot into a tree")
        if not (tree / "usr/bin/python3").exists():
            raise AnsibleConnectionFailure(f"{tree} is not an operating system tree with Python")
        self.tree = tree
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Status, output and errors of the command; systemctl there changes files only, there is no manager to ask."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        ended = subprocess.run(
            ["chroot", str(self.tree), "/bin/sh", "-c", cmd],
            input=in_data,
            stdin=subprocess.DEVNULL if in_data is None else None,
            capture_output=True,
            env={**os.environ, "SYSTEMD_OFFLINE": "1"},
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of ours into the tree."""
        super().put_file(in_path, out_path)
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the tree to us."""
        super().fetch_file(in_path, out_path)
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self) -> None:
        """Forget the tree."""
        self._connected = False

    def _inside(self, path: str) -> Path:
        return self.tree / path.lstrip("/")
