"""A small facility with a service that is rolled out: two hosts that carry it, a front door, a Prometheus, and users.

Its releases are programs: the one that ships, and others made of it that are good or bad in one way each.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import yaml

from pachon import definition
from pachon.places import CHECKOUT
from tests.e2e import making
from tests.e2e.rig import PACHON, Rig
from tests.e2e.users import Users

NAME, NETWORK = "t-roll", "198.19.176"
MEASURING = making.host(NAME, 2)
"""The host with Prometheus, and with the front door."""
SERVICE, SITE = "data-access-apis", "here"
ENTRY = CHECKOUT / "inventory" / "catalogue" / SERVICE
GROUPS = {2: "[dns, front_door, metrics]", 3: "[tap]", 4: "[tap]"}
"""By number of the host; the first is the switch."""
PROGRAM = (ENTRY / "artefacts" / "tap-1.0.0.py").read_text()
ANSWER = '        if path == "/tap/sync":\n'
VERBS = ("start", "ready", "weigh", "watch", "stop", "prove")
"""Of steps, in the order in which a place first comes to them."""
LOAD = "SELECT object_id, ra, dec FROM sample.object WHERE object_id < 5"
"""What users ask, which is not what the smoke test asks."""
CHANGED = {
    "good": {},
    "errs": {
        "answered = {200: 0,": "answered = {500: 0, 200: 0,",
        ANSWER: '        if "TOP" not in query and path == "/tap/sync":\n'
        '            self._send(500, "text/plain", "")\n'
        '        elif path == "/tap/sync":\n',
    },
    "crashes": {
        "    make_sample()\n    server": '    sys.exit("no such table")\n    server',
        "import ssl\n": "import ssl\nimport sys\n",
    },
    "fails-smoke": {"rows[:limit], len(rows)": "rows[1:limit], len(rows)"},
}
"""Of each kind of release, what of the program that ships is another text."""


def program(kind: str, version: str) -> str:
    """The text of a release's program."""
    text = PROGRAM
    for was, becomes in CHANGED[kind].items():
        assert text.count(was) == 1, f"the program that ships has no longer one {was!r}"
        text = text.replace(was, becomes)
    return f"{text}\n# {version}\n"


class Rolling(Rig):
    """The rig, with a catalogue of its own beside its facility."""

    @property
    def definition(self) -> Path:
        """Folder of the definition."""
        return self.top / "inventory" / "facilities" / self.name

    @property
    def entry(self) -> Path:
        """The service's folder in the catalogue."""
        return self.top / "inventory" / "catalogue" / SERVICE

    def users(self) -> Users:
        """Users who come in by the front door from outside the facility."""
        facility = definition.load(self.definition)
        door = next(host for host in facility.hosts if "front_door" in host.groups)
        address = facility.site(SITE).machine_by_serial[door.machine].management_address
        query = urlencode({"LANG": "ADQL", "FORMAT": "csv", "QUERY": LOAD})
        name = f"{SERVICE}.{SITE}.{facility.domain}"
        return Users(str(address), name, f"/tap/sync?{query}", self.state / "pki" / SITE / "ca.crt")


def start(version: str) -> list[str]:
    """The command that rolls a release out, or goes on with it."""
    return [PACHON, "--json", "rollout", "start", SERVICE, version, "--why", "a test"]


@contextlib.contextmanager
def standing(name: str, *, network: str) -> Iterator[Rolling]:
    """The facility, up, with the first release; all of it ends with it."""
    top = Path(tempfile.mkdtemp(prefix="t-"))
    rig = Rolling(name, top)
    try:
        make(rig, network=network)
        rig.pachon("up")
        yield rig
    finally:
        if rig.state.exists():
            rig.down()
        shutil.rmtree(top)


def make(rig: Rolling, *, network: str) -> None:
    """Write the facility and its catalogue."""
    making.small(rig.definition, name=rig.name, network=network, containers=4, furnished=True)
    site = rig.definition / "sites" / "here" / "site.yaml"
    text = site.read_text()
    for number, groups in GROUPS.items():
        flavour = "admin" if "metrics" in groups else "server"
        name = making.host(rig.name, number)
        line = next(each for each in text.splitlines() if f"name: {name}," in each)
        text = text.replace(line, line.replace("groups: []", f"groups: {groups}").replace("server}", f"{flavour}}}"))
    site.write_text(text)
    facility = rig.definition / "facility.yaml"
    placed = f"placements:\n  - {{service: {SERVICE}, site: here, enclave: lone, group: tap}}\n"
    facility.write_text(facility.read_text().replace("placements: []\n", placed))
    shutil.copytree(ENTRY, rig.entry)
    entry = yaml.safe_load((rig.entry / "service.yaml").read_text())
    entry |= {"sites": ["here"], "enclaves": ["lone"], "needs": []}
    entry["deployment"] = {"roles": ["tap"]}
    (rig.entry / "service.yaml").write_text(yaml.safe_dump(entry, sort_keys=False))
    rules = yaml.safe_load((rig.entry / "rollout.yaml").read_text())
    rules["waves"] = [{"name": "all", "places": ["here"]}]
    rules["strategy"] = {"kind": "canary", "shares_percent": [5, 100]}
    rules["pace"] = {"first_share_percent": 4, "soak_seconds": 3, "check_seconds": 1, "start_seconds": 60}
    (rig.entry / "rollout.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))


def add_release(rig: Rolling, version: str, kind: str) -> None:
    """Write a release of that kind."""
    text = program(kind, version)
    (rig.entry / "artefacts" / f"tap-{version}.py").write_text(text)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    written = {
        "kind": "role",
        "artefacts": [{"name": "tap", "digest": digest}],
        "arguments": {"tap": {"max_rows": 1000, "program": digest}},
    }
    (rig.entry / "releases" / f"{version}.yaml").write_text(yaml.safe_dump(written))
