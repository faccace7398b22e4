"""Tells at the end of a session how many runs were killed, where, and how many came out right."""

from collections import Counter

import pytest

WHERE = {
    "test_pulumi_kills": "the real Pulumi on files",
    "test_up_kills": "pachon up, Pulumi and Ansible on a real lab",
    "test_up_reset": "pachon up, one kill after the other, on a real lab",
    "test_hosts_kills": "plays of Ansible on a real lab",
}
KILLS_OF_ONE_TEST = {
    "test_killed_again_and_again_pachon_up_and_make_up_go_on_where_the_last_run_was": 5,
    "test_a_change_that_was_killed_twice_on_its_way_arrives": 2,
}
IN_PROCESS = "kill points in process"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the numbers, if there are any."""
    passed, failed = Counter[str](), Counter[str]()
    for outcome, counted in (("passed", passed), ("failed", failed)):
        for report in terminalreporter.getreports(outcome):
            if report.when != "call":
                continue
            for name, number in report.user_properties:
                if name == IN_PROCESS:
                    counted[IN_PROCESS] += int(str(number))
            module = report.nodeid.partition(".py")[0].rpartition("/")[2]
            test = report.nodeid.partition("::")[2].partition("[")[0]
            if module in WHERE and ("kill" in test or "dropped" in test):
                counted[WHERE[module]] += KILLS_OF_ONE_TEST.get(test, 1)
    if not passed and not failed:
        return
    terminalreporter.section("runs that were killed")
    for name in sorted(passed | failed):
        terminalreporter.write_line(f"{name:<56} passed {passed[name]:>4}   failed {failed[name]:>4}")
