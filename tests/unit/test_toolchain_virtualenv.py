"""``.venv`` is made once, changed when the lock file changes, and made anew after a kill in the middle."""

from pathlib import Path

import pytest

from infra.toolchain import virtualenv, wheels
from pachon.errors import PermanentError
from pachon.progress import silent

FAKE_UV = """#!/bin/sh
echo "$1 $2" >> {log}
[ -e {folder}/fail ] && [ "$2" = sync ] && exit 2
case "$1" in
--version) echo "uv {version}" ;;
venv) mkdir -p .venv/bin; printf '#!/bin/sh\\n' > .venv/bin/python; chmod +x .venv/bin/python ;;
esac
exit 0
"""


class Checkout:
    """A checkout with a lock file, and a uv that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.cache = folder / "cache"
        self.log = folder / "uv.log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.folder.mkdir()
        (self.folder / "pyproject.toml").write_text("[project]\n")
        (self.folder / "requirements.lock").write_text("a==1\n")
        self.put_uv("0.13.9")

    def put_uv(self, version: str) -> None:
        uv = self.bin / "uv"
        uv.write_text(FAKE_UV.format(log=self.log, folder=self.folder, version=version))
        uv.chmod(0o755)

    def ensure(self) -> bool:
        return virtualenv.ensure(self.folder, cache=self.cache, progress=silent)

    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return [line for line in lines if not line.startswith("--version")]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    checkout = Checkout(tmp_path)
    monkeypatch.setenv("PATH", f"{checkout.bin}:/usr/bin:/bin")
    return checkout


def test_it_is_made_once(checkout: Checkout) -> None:
    assert checkout.ensure()
    assert checkout.calls() == ["venv --quiet", "pip sync", "pip install"]
    assert not checkout.ensure()
    assert checkout.calls() == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_it_follows_a_changed_file_without_being_made_anew(checkout: Checkout, name: str) -> None:
    checkout.ensure()
    checkout.calls()
    (checkout.folder / name).write_text("changed\n")
    assert checkout.ensure()
    assert checkout.calls() == ["pip sync", "pip install"]


def test_it_is_made_anew_when_it_was_cut_short(checkout: Checkout) -> None:
    (checkout.folder / "fail").touch()
    with pytest.raises(PermanentError):
        checkout.ensure()
    checkout.calls()
    (checkout.folder / "fail").unlink()
    assert checkout.ensure()
    assert checkout.calls() == ["venv --quiet", "pip sync", "pip install"]


def test_it_is_made_anew_when_its_python_is_gone(checkout: Checkout) -> None:
    checkout.ensure()
    checkout.calls()
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert checkout.ensure()
    assert checkout.calls()[0] == "venv --quiet"


def test_a_uv_that_is_too_old_is_passed_over(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.put_uv("0.4.30")
    asked: list[str] = []

    def ensure(name: str, *, cache: Path, progress: object) -> Path:
        asked.append(name)
        return cache

    monkeypatch.setattr(wheels, "ensure", ensure)
    assert virtualenv.installer(cache=checkout.cache, progress=silent) == checkout.cache / "bin" / "uv"
    assert asked == ["uv"]


def test_the_lock_file_pins_every_dependency_by_hash_and_names_no_address() -> None:
    root = Path(virtualenv.__file__).parents[2]
    text = (root / "requirements.lock").read_text()
    assert "://" not in text
    for block in text.split("\n    # via")[0].split("\n\n"):
        assert "--hash=sha256:" in block
