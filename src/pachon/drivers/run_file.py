"""The document that a controller hands to the provider process: whose run it is, what it may do, where things are.

Written with mode 0600; PACHON_RUN names it. It holds paths of secrets' folders, never a secret.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

VARIABLE = "PACHON_RUN"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Allowed(_Document):
    """One thing that the plan lets the provider do."""

    address: str
    verb: Literal["create", "update", "replace", "delete"]
    generation: str = ""
    """The one to be made (create, update, replace) or removed (delete); empty: any."""
    before: str = ""
    """The one that a replacement removes, as the plan saw it; empty: any but the one that it makes."""


class Endpoint(_Document):
    """Where an address is really reached (the twin maps all of them to loopback)."""

    host: str
    port: int


class SiteAccess(_Document):
    """How the site's services are reached."""

    boot_socket: str = ""
    bmc_port: int = 443
    bmc_user: str = "pachon"
    deploys_per_rack: int = 16


class Budgets(_Document):
    """How long the provider waits, in seconds, before it calls something failed."""

    bmc_seconds: float = 60.0
    """For one BMC call with its retries."""
    deploy_seconds: float = 900.0
    ssh_seconds: float = 180.0
    boot_tries: int = 2
    """How often a machine that falls silent, in its deploy or after it, is booted before it has failed."""
    program_seconds: float = 60.0
    adoption_seconds: float = 20.0
    """How long a host that should be up is given to show its stamp before it is looked at more closely."""


class Declared(_Document):
    """A resource as the definition has it, for an import by address."""

    kind: str
    inputs: dict[str, Any]


class RunFile(_Document):
    """Everything a provider process is told."""

    facility: str
    site: str
    run_id: str
    fencing_token: int
    state: str
    """Folder of the facility's state: keys, secrets, boot services' sockets."""
    store: str
    """File or SQLAlchemy address of the control store."""
    events: str = ""
    """File that takes progress events as JSON lines."""
    failures: str = ""
    """File that takes each failed resource as a JSON line."""
    world: Literal["racks", "folder"] = "racks"
    folder: str = ""
    """For the world of files: where it is."""
    sites: dict[str, SiteAccess] = {}
    allowed: tuple[Allowed, ...] | None = None
    """None: whatever the engine asks for."""
    keep_unseen: bool = False
    """Whether a refresh leaves a resource that does not answer as it was recorded, instead of ending there."""
    destroy_until: datetime | None = None
    """Moment at which the approval of what is destroyed ends; None: it has no end."""
    destroy_data: tuple[str, ...] = ()
    """Addresses of volumes that may be deleted with data in them, each named by its approval."""
    images: dict[str, str] = {}
    """File of each image and kernel by its digest."""
    endpoints: dict[str, Endpoint] = {}
    budgets: Budgets = Budgets()
    definition: dict[str, Declared] = {}

    def write(self, path: Path) -> Path:
        """The path, now holding this document and readable by its owner alone."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.model_dump_json())
        return path


def read_run_file(path: Path) -> RunFile:
    """The document at that path."""
    return RunFile.model_validate_json(path.read_text())
