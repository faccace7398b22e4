"""Where things are kept on this machine: the cache outside the checkout and the state of each facility.

Only this module reads PACHON_CACHE, PACHON_STATE, PACHON_STORE (with its password file) and PACHON_HARDWARE.
"""

import os
from pathlib import Path
from urllib.parse import urlencode

CHECKOUT = Path(__file__).resolve().parents[2]


def imports() -> dict[str, str]:
    """What a Python of ours has to be told in its environment, so that it imports this checkout and no other.

    The environment it is installed in may know another one, and so may the folder that it is started in.
    """
    return {"PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)]), "PYTHONSAFEPATH": "1"}


def cache() -> Path:
    """Folder of what may be lost but is dear to make again: programs, images. PACHON_CACHE moves it."""
    return Path(os.environ.get("PACHON_CACHE") or Path.home() / ".cache" / "pachon")


def state(facility: str) -> Path:
    """Folder of one facility's store, keys, secrets, Pulumi state and lab. PACHON_STATE moves its parent."""
    return Path(os.environ.get("PACHON_STATE") or Path.home() / ".local" / "state" / "pachon") / facility


def store(state: Path) -> str:
    """File or address of the control store of the facility with that state folder; never with a password in it.

    PACHON_STORE names a PostgreSQL database, where each facility has a schema of its own, by the name of its state
    folder. Its password stands in the file that PACHON_STORE_PASSWORD_FILE names, or in ``store.password`` of the
    state folder; without either, the server has to trust us by other means.
    """
    address = os.environ.get("PACHON_STORE") or ""
    if not address:
        return str(state / "store.db")
    query = {"schema": state.name}
    beside = state / "store.password"
    if secret := os.environ.get("PACHON_STORE_PASSWORD_FILE") or (str(beside) if beside.exists() else ""):
        query["password_file"] = str(Path(secret).absolute())
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def servers(state: Path) -> Path:
    """Folder of sockets, locks and records of the servers of the facility with that state folder."""
    return state / "serve"


def server_socket(state: Path, site: str) -> Path:
    """What the server of this site listens at, if there is one."""
    return servers(state) / f"{site}.sock"


def hardware() -> str:
    """What stands behind every facility as seen from this machine; empty: what its definition says.

    A controller inside a site says ``racks`` (PACHON_HARDWARE): the machines around it are real to it.
    """
    return os.environ.get("PACHON_HARDWARE") or ""
