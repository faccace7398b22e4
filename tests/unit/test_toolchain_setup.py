"""``make setup`` tells what it does, goes on after a failure, and needs nothing but the distribution's Python."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.toolchain import debian, programs, setup, virtualenv, wheels
from pachon.errors import MissingError
from pachon.progress import Event, Progress, silent

CHECKOUT = Path(setup.__file__).parents[2]


def event(message: str, *, state: str = "moving", fraction: float | None = None) -> Event:
    return Event(stage="toolchain", address="tool", state=state, message=message, fraction=fraction)  # type: ignore[arg-type]  # tests name states by text


def test_a_stage_that_moves_on_is_told_now_and_again_only() -> None:
    lines: list[str] = []
    now = 0.0
    tell = setup.teller(lines.append, lambda: now)
    tell(event("compiling: 1", fraction=0.1))
    now = 3.0
    tell(event("compiling: 2", fraction=0.2))
    now = 10.5
    tell(event("compiling: 3", fraction=0.3))
    tell(event("linking"))
    tell(event("built", state="done"))
    assert lines == [
        "[   0.0 s] tool: compiling: 1 (10%)\n",
        "[  10.5 s] tool: compiling: 3 (30%)\n",
        "[  10.5 s] tool: linking\n",
        "[  10.5 s] tool: done: built\n",
    ]


def test_a_failed_stage_does_not_keep_the_others_from_being_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(checkout: Path, *, cache: Path, progress: Progress) -> bool:
        raise MissingError("there is no Python", cure="install one")

    def nothing_missing(packages: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(virtualenv, "ensure", broken)
    monkeypatch.setattr(debian, "missing", nothing_missing)
    monkeypatch.setattr(setup, "obtain", lambda program, *, cache, progress: programs.Found(Path("/x"), "1", "cache"))
    outcomes = setup.set_up(Path("/nowhere"), cache=Path("/nowhere"), apt=True, progress=silent)
    assert [(outcome.address, outcome.state) for outcome in outcomes] == [
        ("debian packages", "unchanged"),
        (".venv", "failed"),
        ("pulumi", "unchanged"),
    ]
    assert "install one" in outcomes[1].message


def test_without_the_right_to_install_packages_they_are_named_and_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    package = debian.Package(name="thing", witnesses=("thing",), purpose="tests")

    def only_thing(packages: object) -> tuple[debian.Package, ...]:
        return (package,)

    def no_root() -> str:
        return "only root may install packages"

    def as_it_should(checkout: Path, *, cache: Path, progress: Progress) -> bool:
        return False

    monkeypatch.setattr(debian, "missing", only_thing)
    monkeypatch.setattr(debian, "hindrance", no_root)
    monkeypatch.setattr(virtualenv, "ensure", as_it_should)
    monkeypatch.setattr(setup, "obtain", lambda program, *, cache, progress: programs.Found(Path("/x"), "1", "cache"))
    outcomes = setup.set_up(Path("/nowhere"), cache=Path("/nowhere"), apt=True, progress=silent)
    assert [outcome.state for outcome in outcomes] == ["unchanged"] * 3
    assert "only root may install packages" in outcomes[0].message
    assert "thing" in outcomes[0].message


def test_set_up_needs_only_the_standard_library() -> None:
    program = (
        f"import sys; sys.path[:0] = [{str(CHECKOUT)!r}, {str(CHECKOUT / 'src')!r}]\n"
        "import infra.toolchain.lockfile, infra.toolchain.setup\n"
        "print([name for name in sys.modules if 'site-packages' in str(getattr(sys.modules[name], '__file__', ''))])\n"
    )
    output = subprocess.run(
        [wheels.SYSTEM_PYTHON, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert (output.returncode, output.stdout.strip()) == (0, "[]"), output.stderr


@pytest.mark.parametrize("name", ["go", "uv"])
def test_wheels_are_pinned_by_version_and_hash_for_two_processors(name: str) -> None:
    text = (wheels.FOLDER / f"{name}.txt").read_text()
    assert wheels.pinned(name)
    assert text.count("--hash=sha256:") >= 2


def test_the_heading_of_a_stage_ends_with_how_it_went() -> None:
    script = Path(setup.__file__).with_name("stage.sh")
    good = subprocess.run([script, "good", "true"], capture_output=True, text=True, check=False)
    bad = subprocess.run([script, "bad", sys.executable, "-c", "exit(3)"], capture_output=True, text=True, check=False)
    assert (good.returncode, bad.returncode) == (0, 3)
    assert "== good: passed" in good.stdout
    assert "== bad: FAILED (status 3)" in bad.stdout
