"""Approvals as files: what they cover, how long, and that only allowed signers count where signatures are asked for."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pachon import approving
from pachon.errors import RefusedError, UsageError
from pachon.plan.document import Plan, text_of_file
from pachon.plan.making import Basis, plan_of
from tests.worlds import facility

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Path]:
    """A sealed plan and its file."""
    plan = plan_of(facility(), [], Basis(definition={}, code={}))
    path = tmp_path / "plan.json"
    path.write_text(text_of_file(plan))
    return plan, path


def new_key(folder: Path, name: str) -> Path:
    """A key without a passphrase."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
    return path


def allow(folder: Path, *keys: Path, namespaces: str = "pachon-plan") -> Path:
    """A file with these keys' owners as allowed signers."""
    path = folder / approving.SIGNERS
    lines = [f'{key.name}@here namespaces="{namespaces}" {key.with_suffix(".pub").read_text()}' for key in keys]
    path.write_text("".join(lines))
    return path


def test_an_allowed_signer_s_approval_counts_and_is_his(made: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, path = made
    key = new_key(tmp_path, "ana")
    signers = allow(tmp_path, key)
    approving.approve(plan, path, destroy=["base/host/base-h001"], until=NOW + timedelta(hours=1), key=key)
    given = approving.approval_of(approving.plan_at(path), path, signers=signers, now=NOW)
    assert given is not None
    assert (given.by, given.destroy) == ("ana@here", ("base/host/base-h001",))
    with pytest.raises(RefusedError, match="ended at"):
        approving.approval_of(plan, path, signers=signers, now=NOW + timedelta(hours=2))


def test_nobody_else_s_does_nor_one_that_was_changed_nor_one_for_another_purpose(
    made: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, path = made
    ana, bob = new_key(tmp_path, "ana"), new_key(tmp_path, "bob")
    until = NOW + timedelta(hours=1)
    approving.approve(plan, path, destroy=[], until=until, key=bob)
    with pytest.raises(RefusedError, match="signed by nobody"):
        approving.approval_of(plan, path, signers=allow(tmp_path, ana), now=NOW)
    with pytest.raises(RefusedError, match="signed by nobody"):
        approving.approval_of(plan, path, signers=allow(tmp_path, bob, namespaces="git"), now=NOW)
    file = approving.file_of(path)
    file.write_text(file.read_text().replace('"destroy": []', '"destroy": ["base/host/base-h001"]'))
    with pytest.raises(RefusedError, match="signed by nobody"):
        approving.approval_of(plan, path, signers=allow(tmp_path, bob), now=NOW)


def test_where_signatures_are_asked_for_none_is_refused_and_elsewhere_none_is_needed(
    made: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, path = made
    assert approving.signers_of(tmp_path) is None
    assert approving.approval_of(plan, path, signers=None, now=NOW) is None
    signers = allow(tmp_path, new_key(tmp_path, "ana"))
    assert approving.signers_of(tmp_path) == signers
    with pytest.raises(RefusedError, match="asks for signed approvals"):
        approving.approval_of(plan, path, signers=signers, now=NOW)
    approving.approve(plan, path, destroy=[], until=NOW + timedelta(hours=1), key=None)
    with pytest.raises(RefusedError, match="is not signed"):
        approving.approval_of(plan, path, signers=signers, now=NOW)
    assert approving.approval_of(plan, path, signers=None, now=NOW) is not None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30m", NOW + timedelta(minutes=30)),
        ("2d", NOW + timedelta(days=2)),
        ("2026-12-24T18:00", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00+01:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
    ],
)
def test_a_time_is_what_a_person_means(text: str, meant: datetime) -> None:
    assert approving.moment(text, NOW) == meant


@pytest.mark.parametrize("text", ["yesterday", "2020-01-01", "-1h", ""])
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        approving.moment(text, NOW)
