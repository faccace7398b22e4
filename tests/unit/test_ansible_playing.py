"""Ansible itself, on this machine as its only host: what it tells while it plays, under both strategies."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pachon.drivers.ansible import Effects, Ended, Line, Part, PlayBegan, Playbook, Result, play
from pachon.drivers.ansible.settings import STRATEGIES, STRATEGY_VARIABLE
from pachon.processes.run_group import PART_MARKER

ROLES = {
    "good/tasks/host.yml": """
- name: Change something
  ansible.builtin.copy:
    content: "{{ good_word }} {{ lookup('pachon_secret', 'one') }}"
    dest: "{{ good_folder }}/made"
    mode: "0600"
  no_log: true
  notify: Tell of it
- name: Look on
  ansible.builtin.command:
    cmd: "true"
  changed_when: false
""",
    "good/handlers/main.yml": """
- name: Tell of it
  ansible.builtin.copy:
    content: told
    dest: "{{ good_folder }}/told"
    mode: "0600"
""",
    "good/tasks/main.yml": "- ansible.builtin.fail: {msg: only the host's part is to be played}",
    "leaving/files/units/a.service": "a",
    "leaving/files/units/b.d/c.conf": "c",
    "leaving/templates/t.j2": "{{ good_word }}",
    "leaving/tasks/main.yml": """
- name: Make folders
  ansible.builtin.file:
    path: "{{ good_folder }}/{{ item }}"
    state: directory
    mode: "0755"
  loop: [one, two, three]
  when: item != 'two'
- name: Link
  ansible.builtin.file:
    path: "{{ good_folder }}/link"
    src: /dev/null
    state: link
- name: Take away
  ansible.builtin.file:
    path: "{{ good_folder }}/gone"
    state: absent
- name: Copy a folder
  ansible.builtin.copy:
    src: units/
    dest: "{{ good_folder }}/one/"
    mode: "0644"
- name: Fill in
  ansible.builtin.template:
    src: t.j2
    dest: "{{ good_folder }}/filled"
    mode: "0600"
- name: Never mind
  ansible.builtin.copy:
    content: x
    dest: "{{ good_folder }}/x"
    mode: "0600"
  when: false
- name: Hide
  ansible.builtin.copy:
    content: "{{ lookup('pachon_secret', 'one') }}"
    dest: PLACE/hidden
    mode: "0600"
  no_log: true
- name: Hide somewhere
  ansible.builtin.copy:
    content: "{{ lookup('pachon_secret', 'one') }}"
    dest: "{{ good_folder }}/somewhere"
    mode: "0600"
  no_log: true
- name: Run
  ansible.builtin.command:
    cmd: "true"
  changed_when: true
  notify: Handle
""",
    "leaving/handlers/main.yml": """
- name: Handle
  ansible.builtin.file:
    path: "{{ good_folder }}/handled"
    state: touch
    mode: "0600"
""",
    "bad/tasks/main.yml": """
- name: Call what fails
  ansible.builtin.command:
    cmd: ls /does/not/exist
  changed_when: false
  when: bad_fails
""",
    "hidden/tasks/main.yml": """
- name: Use a secret
  ansible.builtin.command:
    cmd: "ls /{{ lookup('pachon_secret', 'one') }}"
  no_log: true
  changed_when: false
""",
    "broken/tasks/main.yml": "- there is no such module at all: {}",
}
HERE, AWAY = "here", "away"


def book(top: Path, *parts: Part) -> Playbook:
    for name, text in ROLES.items():
        path = top / "roles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("PLACE", str(top)))
    (top / "secrets").mkdir(exist_ok=True)
    (top / "secrets" / "one").write_text("never-to-be-seen")
    told = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": str(top / "remote"),
        "bad_fails": True,
        "good_folder": str(top),
        "good_word": "said",
        "pachon_state": str(top),
    }
    away = {**told, "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "bad_fails": False}
    return Playbook(work=top / "work", parts=parts, variables={HERE: told, AWAY: away}, roles=top / "roles")


def played(plan: Playbook) -> list[Line]:
    told: list[Line] = []
    asyncio.run(play(plan, run_id="test", on_line=told.append))
    return told


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ansible_tells_of_every_host_and_role_and_never_of_secrets(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STRATEGY_VARIABLE, strategy)
    told = played(
        book(
            tmp_path,
            Part(role="good", hosts=(AWAY, HERE), host_only=True),
            Part(role="bad", hosts=(AWAY, HERE), host_only=False),
            Part(role="hidden", hosts=(HERE,), host_only=False),
        )
    )
    assert [line.play for line in told if isinstance(line, PlayBegan)][:2] == ["good", "bad (whole)"]
    ended = {line.play: line.verdicts for line in told if isinstance(line, Ended)}
    assert ended["good"][HERE].state == "changed"
    assert ended["good"][HERE].changed == 2
    assert ended["good"][AWAY].state == "unreachable"
    assert ended["good"][AWAY].message
    assert AWAY not in ended["bad (whole)"]
    assert ended["bad (whole)"][HERE].state == "failed"
    assert "No such file" in ended["bad (whole)"][HERE].message
    assert ended["bad (whole)"][HERE].task == "bad : Call what fails"
    assert "hidden (whole)" not in ended or HERE not in ended["hidden (whole)"]
    changed = [(line.task, line.handler) for line in told if isinstance(line, Result) and line.state == "changed"]
    assert changed == [("good : Change something", False), ("good : Tell of it", True)]
    assert (tmp_path / "made").read_text() == "said never-to-be-seen"
    assert (tmp_path / "told").read_text() == "told"


def test_the_reason_of_a_task_with_secrets_is_not_told(tmp_path: Path) -> None:
    told = played(book(tmp_path, Part(role="hidden", hosts=(HERE,), host_only=False)))
    (ended,) = [line for line in told if isinstance(line, Ended)]
    assert ended.verdicts[HERE].state == "failed"
    assert "never-to-be-seen" not in str(told)
    assert not any("never-to-be-seen" in path.read_text() for path in (tmp_path / "work").glob("*.*"))


def test_a_role_of_which_all_is_left_out_ends_without_a_verdict(tmp_path: Path) -> None:
    plan = book(tmp_path, Part(role="tagged", hosts=(HERE,), host_only=False))
    tasks = tmp_path / "roles" / "tagged" / "tasks" / "main.yml"
    tasks.parent.mkdir(parents=True)
    tasks.write_text("- name: Fail\n  ansible.builtin.fail:\n  tags: [settle]\n")
    told = played(replace(plan, skipped_tags=("settle",)))
    assert [line.verdicts for line in told if isinstance(line, Ended)] == [{}]


def test_of_a_role_that_ansible_cannot_read_its_words_are_kept(tmp_path: Path) -> None:
    plan = book(tmp_path, Part(role="broken", hosts=(HERE,), host_only=False))
    told: list[Line] = []
    words = asyncio.run(play(plan, run_id="test", on_line=told.append))
    assert "there is no such module at all" in words
    assert told == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ansible_tells_what_each_task_manages_whether_or_not_it_changes_anything(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STRATEGY_VARIABLE, strategy)
    plan = book(tmp_path, Part(role="leaving", hosts=(HERE,), host_only=False))
    managed = []
    for _ in range(2):
        told = played(plan)
        (effects,) = [line for line in told if isinstance(line, Effects)]
        assert "never-to-be-seen" not in str(told)
        managed.append({each.task.partition(" : ")[2]: _named(each.effects, tmp_path) for each in effects.tasks})
    content, place = "content mode owner group", "mode owner group"
    assert managed[0] == {
        "Make folders": [("folder", "one", place), ("folder", "three", place)],
        "Link": [("link", "link", "target")],
        "Take away": [("absent", "gone", "")],
        "Copy a folder": [("file", "one/a.service", content), ("file", "one/b.d/c.conf", content)],
        "Fill in": [("file", "filled", content)],
        "Hide": [("file", "hidden", f"{content} secret")],
        "Hide somewhere": [("file", "somewhere", f"{content} secret")],
        "Run": None,
    }
    assert managed[1] == managed[0]


def _named(effects: tuple[dict[str, Any], ...] | None, top: Path) -> list[tuple[str, str, str]] | None:
    """Kind, name below the folder, and what of it is managed."""
    if effects is None:
        return None
    return [
        (
            each["kind"],
            str(Path(each["name"]).relative_to(top)),
            " ".join([*each["aspects"], *(["secret"] if each["secret"] else [])]),
        )
        for each in effects
    ]


def test_nothing_of_ansible_outlives_a_play_that_is_given_up(tmp_path: Path) -> None:
    plan = book(tmp_path, Part(role="slow", hosts=(HERE,), host_only=False))
    slow = tmp_path / "roles" / "slow" / "tasks" / "main.yml"
    slow.parent.mkdir(parents=True)
    slow.write_text("- name: Wait\n  ansible.builtin.command: {cmd: sleep 600}\n")

    async def give_up() -> None:
        began = asyncio.Event()
        playing = asyncio.create_task(play(plan, run_id="test", on_line=lambda line: began.set()))
        await began.wait()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)

    asyncio.run(give_up())
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if _carries(path, tmp_path)]
    assert left == []


def _carries(environ: Path, top: Path) -> bool:
    try:
        content = environ.read_bytes()
    except OSError:
        return False
    return PART_MARKER.encode() in content and os.fsencode(top) in content
