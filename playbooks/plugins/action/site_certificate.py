"""Gives a host its certificate: the host makes key and request, the CA of its site signs them here."""

from __future__ import annotations

import base64
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from pachon.drivers import pki
from pachon.errors import PachonError

DOCUMENTATION = """
name: site_certificate
short_description: Give a host a certificate of its site's private CA
description:
  - Makes the host's key on the host, has it signed here, and writes certificate and trust bundle.
  - A certificate that is good for a third of its life yet, of the right key, names and CA, is left alone.
options:
  state:
    description: The facility's state folder on the controller, which holds the CAs.
    required: true
    type: path
  site:
    description: Site whose CA signs.
    required: true
    type: str
  sites:
    description: Sites whose CAs the host believes.
    required: true
    type: list
    elements: str
  name:
    description: Fully qualified name of the host.
    required: true
    type: str
  other_names:
    description: Further names.
    type: list
    elements: str
  addresses:
    description: Addresses.
    type: list
    elements: str
  folder:
    description: Where key, certificate and trust.pem lie on the host.
    required: true
    type: path
  file:
    description: What key and certificate are called, without ending.
    default: host
    type: str
  user:
    description: As whom a program logs in with it; then the common name, else that is the host's name.
    type: str
  user_groups:
    description: Groups of that user.
    type: list
    elements: str
  group:
    description: Group that may read the key.
    required: true
    type: str
author: Pachon
version_added: "0.1"
"""

OPTIONS = {
    "state": {"type": "path", "required": True},
    "site": {"type": "str", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "name": {"type": "str", "required": True},
    "other_names": {"type": "list", "elements": "str", "default": []},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "folder": {"type": "path", "required": True},
    "file": {"type": "str", "default": "host"},
    "user": {"type": "str", "default": ""},
    "user_groups": {"type": "list", "elements": "str", "default": []},
    "group": {"type": "str", "required": True},
}
SEPARATOR = "----- pachon -----"
LOOK = f"""
cd {{folder}} 2>/dev/null || exit 0
openssl pkey -in {{file}}.key -pubout 2>/dev/null; echo '{SEPARATOR}'
stat -c '%a %U %G' {{file}}.key 2>/dev/null; echo '{SEPARATOR}'
cat {{file}}.crt 2>/dev/null; echo '{SEPARATOR}'
cat trust.pem 2>/dev/null; echo '{SEPARATOR}'
"""
REQUEST = """
set -eu
umask 077
cd {folder}
[ -s {file}.key ] || {{
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out .{file}.key.new 2>/dev/null
    mv .{file}.key.new {file}.key
}}
chown root:{group} {file}.key
chmod 0640 {file}.key
openssl req -new -key {file}.key -subj /CN=host
"""
WRITE = """
set -eu
cd {folder}
printf %s {content} | base64 -d >.{written}.new
chmod 0644 .{written}.new
mv .{written}.new {written}
"""


class ActionModule(ActionBase):
    """The task of one host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """What was changed and why."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        try:
            changes = self._carry_out(options)
        except PachonError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": bool(changes), "msg": "; ".join(changes) or "the certificate is good"}

    def _carry_out(self, options: dict[str, Any]) -> list[str]:
        state, site = Path(options["state"]), options["site"]
        for each in options["sites"]:
            pki.ensure_site(state, each)
        subject = pki.Subject(
            name=options["name"],
            other_names=tuple(options["other_names"]),
            addresses=tuple(options["addresses"]),
            user=options["user"],
            user_groups=tuple(options["user_groups"]),
        )
        now, trusted = datetime.now(UTC), pki.trust_bundle(state, options["sites"])
        where = {key: shlex.quote(options[key]) for key in ("folder", "file", "group")}
        public, mode, certificate, bundle, *_ = [*self._said(LOOK.format(**where)).split(SEPARATOR), "", "", "", ""]
        changes = []
        why = pki.why_due(state, site, certificate_pem=certificate, public_key_pem=public, subject=subject, now=now)
        if not why and mode.split() != ["640", "root", options["group"]]:
            why = "its key has another owner or mode"
        if why:
            changes.append(why)
            if not self._task.check_mode:
                request = self._said(REQUEST.format(**where))
                made = pki.issue(state, site, request_pem=request, subject=subject, now=now)
                self._write(where, f"{options['file']}.crt", made)
        if bundle.split() != trusted.split():  # a terminal in between ends lines in its own way
            changes.append("it believes other authorities")
            if not self._task.check_mode:
                self._write(where, "trust.pem", trusted)
        return changes

    def _write(self, where: dict[str, str], written: str, text: str) -> None:
        content = base64.b64encode(text.encode()).decode()
        self._said(WRITE.format(**where, written=shlex.quote(written), content=content))

    def _said(self, script: str) -> str:
        """Output of a script on the host."""
        done = self._low_level_execute_command(script)
        if done["rc"] != 0:
            raise AnsibleActionFail(f"on the host: {done['stderr'].strip() or done['stdout'].strip()}")
        return str(done["stdout"])
