"""Gives a role the content of a generated secret by its name; the task that uses it says ``no_log: true``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: pachon_secret
author: Pachon
version_added: "0.1"
short_description: Content of a secret in the facility's state
description:
  - Reads C(<pachon_state>/secrets/<name>) on the controller. The variable C(pachon_state) is the inventory's.
options:
  _terms:
    description: Names of secrets.
    required: true
"""

EXAMPLES = """
- name: Install the key of the cluster
  ansible.builtin.copy:
    content: "{{ lookup('pachon_secret', slurm_compute_munge_secret) }}"
    dest: /etc/munge/munge.key
    owner: munge
    group: munge
    mode: "0400"
  no_log: true
"""

RETURN = """
_raw:
  description: The content of each, as text.
  type: list
  elements: str
"""

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,98}")


class LookupModule(LookupBase):
    """Reads secrets."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The content of each secret named.

        Raises:
            AnsibleLookupError: a name is none, or the secret is not there.
        """
        state = self._templar.template((variables or {}).get("pachon_state"))
        if not state:
            raise AnsibleLookupError("pachon_state is not set: use inventory/hosts, or 'pachon up'")
        return [self._read(Path(str(state)), str(term)) for term in terms]

    @staticmethod
    def _read(state: Path, name: str) -> str:
        if not NAME.fullmatch(name):
            raise AnsibleLookupError(f"{name!r} is no name of a secret")
        try:
            return (state / "secrets" / name).read_text()
        except OSError as error:
            raise AnsibleLookupError(
                f"the secret {name!r} cannot be read: {error.strerror}; 'pachon up' makes it"
            ) from error
