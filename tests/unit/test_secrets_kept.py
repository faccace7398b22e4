"""Generated secrets: made once, whole, for our eyes only, and known elsewhere by a digest that tells nothing."""

import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar

from pachon import secrets
from pachon.errors import MissingError, PermanentError
from pachon.places import CHECKOUT


def test_a_secret_is_made_once_and_only_we_may_read_it(tmp_path: Path) -> None:
    path = secrets.ensure(tmp_path, "munge-base", 32)
    made = path.read_text()
    assert len(made) >= 32 and "\n" not in made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert secrets.ensure(tmp_path, "munge-base", 32).read_text() == made


def test_two_writers_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(secrets.ensure(tmp_path, "one", 32).read_text())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["one"]


@pytest.mark.parametrize("name", ["", "../keys/automation", "Up", ".draft-x", "a/b"])
def test_a_name_that_is_no_file_here_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PermanentError):
        secrets.ensure(tmp_path, name, 32)


def test_the_digest_of_a_secret_moves_with_it_and_means_nothing_in_another_state(tmp_path: Path) -> None:
    path = secrets.ensure(tmp_path / "one", "key", 32)
    before = secrets.digests(tmp_path / "one", ["key"])
    assert before == secrets.digests(tmp_path / "one", ["key"])
    other = secrets.ensure(tmp_path / "two", "key", 32)
    other.write_text(path.read_text())
    assert secrets.digests(tmp_path / "two", ["key"]) != before
    path.write_text("another")
    assert secrets.digests(tmp_path / "one", ["key"]) != before
    with pytest.raises(MissingError):
        secrets.digests(tmp_path / "one", ["never-made"])


def look_up(state: Path | None, name: str) -> list[str]:
    lookup_loader.add_directory(str(CHECKOUT / "playbooks" / "plugins" / "lookup"))
    loader = DataLoader()
    plugin = lookup_loader.get("pachon_secret", loader=loader, templar=Templar(loader=loader))
    variables = {} if state is None else {"pachon_state": str(state)}
    return list(plugin.run([name], variables))


def test_a_role_reads_a_secret_by_its_name(tmp_path: Path) -> None:
    made = secrets.ensure(tmp_path, "munge-base", 32).read_text()
    assert look_up(tmp_path, "munge-base") == [made]


def test_a_role_that_asks_for_no_secret_of_ours_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match="pachon up"):
        look_up(tmp_path, "munge-base")
    with pytest.raises(AnsibleLookupError, match="no name"):
        look_up(tmp_path, "../keys/automation")
    with pytest.raises(AnsibleLookupError, match="pachon_state"):
        look_up(None, "munge-base")
