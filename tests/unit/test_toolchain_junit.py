"""After the tests, those that were not run are named with the reason, and the last line counts."""

from pathlib import Path

import pytest

from infra.toolchain import junit

JUNIT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.lab" name="test_a"><skipped type="pytest.skip" message="needs root">x</skipped></testcase>
<testcase classname="tests.lab" name="test_b"><skipped type="pytest.skip" message="needs root">x</skipped></testcase>
<testcase classname="tests.unit" name="test_c"/>
<testcase classname="tests.unit" name="test_d"><failure message="no">x</failure></testcase>
<testcase classname="tests.unit" name="test_e"><error message="no">x</error></testcase>
</testsuite></testsuites>"""


def test_tests_not_run_are_named_by_reason_and_the_rest_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    assert junit.main([str(tmp_path / "junit.xml")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "not run (2): needs root",
        "  tests.lab::test_a",
        "  tests.lab::test_b",
        "1 passed, 2 failed, 2 skipped",
    ]


def test_a_run_that_did_not_end_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert junit.main([str(tmp_path / "junit.xml")]) == 1
    assert "did not come to an end" in capsys.readouterr().out
