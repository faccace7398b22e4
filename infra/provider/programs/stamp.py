"""The host's stamp, read from its disk."""

from pathlib import Path

from infra.provider.programs.fence import Call, guarded


def main(call: Call) -> Call:
    """The stamp and the site's signature over it."""
    return guarded(call, read)


def read(call: Call) -> Call:
    """Both texts, empty where there is no file."""
    found: Call = {}
    for key, name in (("stamp", "stamp.json"), ("signature", "stamp.json.sig")):
        path = Path("/etc/pachon") / name
        found[key] = path.read_text() if path.exists() else ""
    return found
