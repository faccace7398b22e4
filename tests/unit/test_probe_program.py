"""The probe's program on a tree of its own: what it records, and that it finds whatever is changed afterwards."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.provider.programs import fence
from pachon.drivers import probe, probe_program
from pachon.model.manifest import (
    Difference,
    Manifest,
    Subject,
    differences,
    expected_gone,
    expected_of,
    recorded,
    unmentioned,
)

ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nana:x:1000:1000:Ana:/home/ana:/bin/bash\n",
    "shadow": "root:*:1::::::\nana:*:1::::::\n",
    "group": "root:x:0:\nana:x:1000:\npeople:x:911:ana\n",
}
CONTENT = ("content", "mode", "owner", "group")
PLACE = ("mode", "owner", "group")
KEY = "aa" * 32


def subject(kind: str, name: str, *aspects: str, owner: str = "Do", **more: object) -> Subject:
    return Subject.model_validate({"kind": kind, "name": name, "owner": owner, "aspects": aspects, **more})


SUBJECTS = (
    subject("file", "/etc/app.conf", *CONTENT, owner="Configure"),
    subject("file", "/etc/key", *CONTENT, secret=True),
    subject("folder", "/etc/app.d", *PLACE, whole=True),
    subject("file", "/etc/app.d/ours", *CONTENT),
    subject("link", "/etc/link", "target"),
    subject("absent", "/etc/old"),
    subject("user", "ana", "uid", "gid", "title", "home", "housed", "shell", "groups", "password"),
    subject("group", "people", "gid", "members"),
    subject("sysctl", "net.ipv4.ip_forward", "value"),
    subject("mount", "/srv/data", "type", "root", "options"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("etc/app.d", "home/ana", "proc/sys/net/ipv4", "proc/self"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in ACCOUNTS.items():
        (tmp_path / "etc" / name).write_text(text)
    for name, text in {
        "app.conf": "a = 1\n",
        "key": "secret",
        "app.d/ours": "ours",
        "app.d/README": "of the image",
    }.items():
        (tmp_path / "etc" / name).write_text(text)
        (tmp_path / "etc" / name).chmod(0o644)
    (tmp_path / "etc" / "link").symlink_to("/dev/null")
    (tmp_path / "proc/sys/net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "proc/self/mountinfo").write_text("36 35 0:9 /v /srv/data rw,noatime shared:1 - btrfs /dev/loop3 rw\n")
    return tmp_path


def asked(tree: Path, mode: str, **call: object) -> dict[str, Any]:
    cache = str(tree / "var" / "probe" / "digests")
    shared = {"root": str(tree), "key": KEY, "cache": cache, "fence": probe.FENCE, "fencing_token": 7}
    return probe_program.main({"mode": mode, **shared, **call})


def record(tree: Path, subjects: tuple[Subject, ...] = SUBJECTS, before: Manifest | None = None) -> Manifest:
    asking = [
        {
            "kind": each.kind,
            "name": each.name,
            "secret": each.secret,
            "aspects": [*each.aspects, *(["entries"] if each.whole else [])],
        }
        for each in subjects
    ]
    return recorded(Manifest(subjects=subjects), asked(tree, "record", subjects=asking)["values"], before=before)


def check(tree: Path, **manifests: Manifest) -> list[Difference]:
    expected = expected_of(manifests)
    answer = asked(tree, "check", subjects=[each.model_dump() for each in expected])
    return list(differences("one", expected, answer["differences"]))


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def said(tree: Path, made: Manifest) -> set[tuple[str, str]]:
    return {(each.name, each.aspect) for each in check(tree, app=made)}


def test_what_was_just_recorded_differs_in_nothing(tree: Path) -> None:
    assert check(tree, app=record(tree)) == []


CHANGES: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]]]] = {
    "content": (lambda etc: (etc / "app.conf").write_text("a = 2\n"), {("/etc/app.conf", "content")}),
    "secret": (lambda etc: (etc / "key").write_text("guess"), {("/etc/key", "content")}),
    "mode": (lambda etc: (etc / "app.conf").chmod(0o666), {("/etc/app.conf", "mode")}),
    "setuid": (lambda etc: (etc / "app.conf").chmod(0o4644), {("/etc/app.conf", "mode")}),
    "gone": (lambda etc: (etc / "app.conf").unlink(), {("/etc/app.conf", "is")}),
    "kind": (
        lambda etc: link(etc / "app.conf", "key"),
        {("/etc/app.conf", "is")},
    ),
    "target": (
        lambda etc: link(etc / "link", "/bin/sh"),
        {("/etc/link", "target")},
    ),
    "unlinked": (lambda etc: (etc / "link").unlink(), {("/etc/link", "is")}),
    "stranger": (lambda etc: (etc / "app.d/theirs").write_text(""), {("/etc/app.d/theirs", "stranger")}),
    "hidden stranger": (lambda etc: (etc / "app.d/.theirs").mkdir(), {("/etc/app.d/.theirs", "stranger")}),
    "folder's mode": (lambda etc: (etc / "app.d").chmod(0o777), {("/etc/app.d", "mode")}),
    "come back": (lambda etc: (etc / "old").write_text(""), {("/etc/old", "is")}),
    "shell": (
        lambda etc: (etc / "passwd").write_text(ACCOUNTS["passwd"].replace("ana:/bin/bash", "ana:/bin/sh")),
        {("ana", "shell")},
    ),
    "password": (
        lambda etc: (etc / "shadow").write_text(ACCOUNTS["shadow"].replace("ana:*", "ana:")),
        {("ana", "password")},
    ),
    "member": (
        lambda etc: (etc / "group").write_text(ACCOUNTS["group"].replace("911:ana", "911:ana,bob")),
        {("people", "members")},
    ),
    "no home": (lambda etc: (etc.parent / "home/ana").rmdir(), {("ana", "housed")}),
    "no account": (
        lambda etc: (etc / "passwd").write_text(ACCOUNTS["passwd"].split("ana")[0]),
        {("ana", "is")},
    ),
    "setting": (
        lambda etc: (etc.parent / "proc/sys/net/ipv4/ip_forward").write_text("1\n"),
        {("net.ipv4.ip_forward", "value")},
    ),
    "unmounted": (lambda etc: (etc.parent / "proc/self/mountinfo").write_text(""), {("/srv/data", "is")}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_found_and_nothing_else(tree: Path, change: str) -> None:
    made = record(tree)
    act, found = CHANGES[change]
    act(tree / "etc")
    assert said(tree, made) == found


def test_another_owner_is_found(tree: Path) -> None:
    """By names of accounts, since only root gives files away; for real on hosts: faults/test_probe_honesty.py."""

    def own(name: str, group: str) -> None:
        (tree / "etc/passwd").write_text(f"{name}:x:{os.getuid()}:0::/root:/bin/sh\n")
        (tree / "etc/group").write_text(f"{group}:x:{(tree / 'etc/app.conf').stat().st_gid}:\n")

    own("root", "root")
    made = record(tree, (subject("file", "/etc/app.conf", *CONTENT, owner="Configure"),))
    own("ana", "people")
    found = {each.aspect: (each.expected, each.seen, each.task) for each in check(tree, app=made)}
    assert found == {"owner": ("root", "ana", "Configure"), "group": ("root", "people", "Configure")}


def test_a_file_of_another_role_is_no_stranger_in_a_folder_that_is_owned_whole(tree: Path) -> None:
    made = record(tree)
    (tree / "etc/app.d/other").write_text("by another role")
    other = record(tree, (subject("file", "/etc/app.d/other", *CONTENT),))
    assert check(tree, app=made, other=other) == []


def test_what_a_role_no_longer_mentions_becomes_a_stranger_and_is_to_go(tree: Path) -> None:
    before = record(tree)
    fewer = tuple(each for each in SUBJECTS if each.name not in ("/etc/app.d/ours", "/etc/link"))
    after = record(tree, fewer, before)
    over = unmentioned(after, before)
    assert [each.name for each in over] == ["/etc/app.d/ours", "/etc/link"]
    assert said(tree, after) == {("/etc/app.d/ours", "stranger")}
    assert unmentioned(Manifest(subjects=SUBJECTS), after.model_copy(update={"left": over})) == ()


def test_of_two_roles_the_later_one_decides(tree: Path) -> None:
    first = record(tree, (subject("file", "/etc/app.conf", *CONTENT),))
    (tree / "etc/app.conf").write_text("b = 1\n")
    second = record(tree, (subject("file", "/etc/app.conf", "content"),))
    assert check(tree, first=first, second=second) == []
    (tree / "etc/app.conf").write_text("c = 1\n")
    (tree / "etc/app.conf").chmod(0o600)
    found = {each.aspect: each.role for each in check(tree, first=first, second=second)}
    assert found == {"content": "second", "mode": "first"}


def test_what_a_task_says_itself_counts_more_than_what_was_there(tree: Path) -> None:
    made = record(tree, (subject("file", "/etc/app.conf", "mode", declared={"mode": "0600"}),))
    assert said(tree, made) == {("/etc/app.conf", "mode")}


def test_secrets_count_by_a_keyed_digest(tree: Path) -> None:
    plain = record(tree, (subject("file", "/etc/key", "content"),)).subjects[0].values["content"]
    keyed = record(tree, (subject("file", "/etc/key", "content", secret=True),)).subjects[0].values["content"]
    assert plain != keyed
    assert "secret" not in (plain, keyed)


def test_digests_of_large_files_are_kept_until_the_file_changes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = tree / "etc" / "large"
    large.write_bytes(b"x" * (probe_program.CACHED_BYTES + 1))
    monkeypatch.setattr(probe_program, "SETTLED_NS", -1)
    made = record(tree, (subject("file", "/etc/large", "content"),))
    cache = tree / "var/probe/digests"
    assert (cache.stat().st_mode & 0o777, cache.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = cache.read_text()
    cache.write_text(kept.replace(made.subjects[0].values["content"], "what was kept"))
    assert {each.seen for each in check(tree, app=made)} == {"what was kept"}
    large.write_bytes(b"y" * (probe_program.CACHED_BYTES + 1))
    (found,) = check(tree, app=made)
    assert found.seen not in ("what was kept", made.subjects[0].values["content"])


def test_what_is_to_go_is_put_aside_and_not_lost_and_folders_go_only_empty(tree: Path) -> None:
    (tree / "etc/app.d/theirs").write_text("theirs")
    (tree / "etc/app.d/deep").mkdir()
    folders = ["/etc/app.d", "/etc/app.d/deep"]
    answer = asked(tree, "sweep", paths=["/etc/app.d/theirs", "/etc/app.d/gone"], folders=folders, aside="/var/aside")
    assert answer == {"swept": ["/etc/app.d/theirs", "/etc/app.d/deep"]}
    assert not (tree / "etc/app.d/theirs").exists()
    assert [path.read_text() for path in (tree / "var/aside").iterdir()] == ["theirs"]


STRANGE = (b"bad\xff", b"two\nlines", b"\x1b[2J", "na\u00efve".encode(), b"x" * 250)


def test_names_that_are_no_text_are_told_escaped_and_go_like_others(tree: Path) -> None:
    """Escaped on the host: JSON, the store and terminals take nothing else."""
    made = record(tree)
    for name in STRANGE:
        (tree / "etc/app.d" / os.fsdecode(name)).write_text("theirs")
    told = [name for name, aspect in sorted(said(tree, made)) if aspect == "stranger"]
    named = ["\\x1b[2J", "bad\\xff", "na\u00efve", "two\\x0alines", "x" * 250]
    assert told == [f"/etc/app.d/{name}" for name in named]
    assert asked(tree, "sweep", paths=told, aside="/var/aside") == {"swept": told}
    assert said(tree, made) == set()
    aside = sorted(os.fsencode(path.name).split(b"-", 2)[2] for path in (tree / "var/aside").iterdir())
    assert aside == sorted((*STRANGE[:-1], b"x" * probe_program.NAME_BYTES))


def test_what_else_is_no_text_is_told_escaped(tree: Path) -> None:
    link(tree / "etc/link", "/no\udcff")
    ana = ACCOUNTS["passwd"].encode().replace(b"Ana", b"An\xe4")
    (tree / "etc/passwd").write_bytes(ana)
    mounted = (tree / "proc/self/mountinfo").read_bytes()
    (tree / "proc/self/mountinfo").write_bytes(mounted + mounted.replace(b"/srv/data", b"/srv/\xff"))
    (tree / "proc/sys/net/ipv4/ip_forward").write_bytes(b"\xff\n")
    values = {(each.kind, each.name): each.values for each in record(tree).subjects}
    assert values["link", "/etc/link"]["target"] == "/no\\xff"
    assert values["user", "ana"]["title"] == "An\\xe4"
    assert values["sysctl", "net.ipv4.ip_forward"]["value"] == "\\xff"
    assert check(tree, app=record(tree)) == []


def test_units_that_are_to_go_stop_before_their_files_do(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    calls: list[tuple[list[str], bool]] = []

    def said(argv: list[str], statuses: tuple[int, ...] = (0,)) -> str:
        calls.append((argv[1:], (tree / "etc/app.conf").exists()))
        if argv[1:] == ["try-restart", "--", "broken.service"]:
            raise SystemExit("systemctl ended with status 1")
        return ""

    monkeypatch.setattr(probe_program, "said", said)
    told = {"b.service": "reloaded", "c.service": "restarted", "broken.service": "restarted"}
    asked(tree, "sweep", units=["a.service"], paths=["/etc/app.conf"], aside="/var/aside", told=told)
    assert calls == [
        (["disable", "--now", "--", "a.service"], True),
        (["daemon-reload"], False),
        (["try-reload-or-restart", "--", "b.service"], False),
        (["try-restart", "--", "c.service"], False),
        (["try-restart", "--", "broken.service"], False),
        (["reset-failed", "--", "broken.service"], False),
    ]


@pytest.mark.parametrize(("path", "again"), [("/etc/systemd/system/a.service", True), ("/etc/app.conf", False)])
def test_systemd_reads_its_units_again_where_a_file_of_one_went(
    monkeypatch: pytest.MonkeyPatch, tree: Path, path: str, *, again: bool
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(probe_program, "said", lambda argv, statuses=(0,): calls.append(argv[1:]))
    (tree / "etc/systemd/system").mkdir(parents=True)
    (tree / path.lstrip("/")).touch()
    asked(tree, "sweep", paths=[path], aside="/var/aside")
    assert calls == ([["daemon-reload"]] if again else [])


def test_an_older_writer_sweeps_nothing_and_the_newest_is_remembered_where_all_programs_do(tree: Path) -> None:
    assert str(fence.FENCE) == probe.FENCE
    assert asked(tree, "sweep", paths=[], aside="/var/aside") == {"swept": []}
    refused = asked(tree, "sweep", paths=["/etc/app.conf"], aside="/var/aside", fencing_token=6)
    assert refused["error"] == "fencing token 6 is older than 7, which was here before"
    assert (tree / "etc/app.conf").exists()
    assert (tree / probe.FENCE.lstrip("/")).read_text() == "7"


def left(tree: Path, *over: Subject) -> list[tuple[str, str]]:
    expected = expected_gone({"app": over}, [subject("file", "/etc/app.d/ours")])
    answer = asked(tree, "check", subjects=[each.model_dump() for each in expected])
    return [(each.name, each.aspect) for each in differences("one", expected, answer["differences"])]


def test_what_is_left_over_is_found_as_long_as_it_is_there(tree: Path) -> None:
    for folder in ("deep", "full"):
        (tree / "etc" / folder).mkdir()
    (tree / "etc/full/of").touch()
    names = ("/etc/app.d", "/etc/deep", "/etc/full")
    over = [
        subject("file", "/etc/app.conf"),
        *(subject("folder", name) for name in names),
        subject("link", "/etc/link"),
    ]
    assert left(tree, *over) == [("/etc/app.conf", "left"), ("/etc/deep", "left"), ("/etc/link", "left")]
    (tree / "etc/app.conf").unlink()
    (tree / "etc/deep").rmdir()
    (tree / "etc/link").unlink()
    assert left(tree, *over) == []


def test_an_unknown_kind_is_refused(tree: Path) -> None:
    with pytest.raises(SystemExit, match="no such kind: moon"):
        asked(tree, "record", subjects=[{"kind": "moon", "name": "x", "aspects": []}])


def test_units_and_packages_are_read_in_one_go_each(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    calls: list[list[str]] = []

    def said(argv: list[str], statuses: tuple[int, ...] = (0,)) -> str:
        calls.append(argv)
        if argv[0] == "dpkg-query":
            return "bash\t5.2\tii \nold\t1\trc \n"
        return (
            "LoadState=loaded\nActiveState=activating\nUnitFileState=enabled\n\n"
            "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
        )

    monkeypatch.setattr(probe_program, "said", said)
    names = [("unit", "ssh.service"), ("unit", "no.service"), ("package", "bash"), ("package", "old"), ("package", "*")]
    asking = [{"kind": kind, "name": name, "aspects": []} for kind, name in names]
    told = asked(tree, "record", subjects=asking)["values"]
    assert told[0] == {"is": "unit", "enabled": "enabled", "running": "yes"}
    assert told[1]["is"] == "absent"
    assert [each["is"] for each in told[2:]] == ["package", "absent", "package"]
    assert [argv[0] for argv in calls] == ["systemctl", "dpkg-query"]


RULESET = """\
table inet pachon {
	chain input {
		accept
	}
}
table ip kube-proxy {
	chain services {
		accept
	}
}
table ip6 strange {
}
"""


def test_rules_that_a_program_of_the_host_keeps_are_no_drift_and_those_of_strangers_are(tmp_path: Path) -> None:
    folder = tmp_path / probe_program.RULES_FOLDER.lstrip("/")
    assert probe_program.own_rules(RULESET, probe_program.others(str(tmp_path))) == RULESET
    folder.mkdir(parents=True)
    (folder / "60-pods.nft").write_text("# text\n# table of another: kube-proxy\ntable ip a\n")
    (folder / "50-host.nft").mkdir()  # somebody's work, which is told of as itself
    (folder / "70-gone.nft").symlink_to("nowhere")
    os.mkfifo(folder / "80-waits.nft")
    strange = probe_program.others(str(tmp_path))
    assert strange == {"kube-proxy"}
    kept = probe_program.own_rules(RULESET, strange)
    assert "kube-proxy" not in kept
    assert "services" not in kept
    assert kept == RULESET.replace(RULESET[RULESET.index("table ip kube") : RULESET.index("table ip6")], "")
