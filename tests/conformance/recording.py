"""What became of the tests that name behaviours, in this run, and whether the page says so.

`CONFORMANCE=write` runs these tests alone and writes the page (scripts/conformance). Any run in
which all of them have run fails if the page says something else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conformance.claims import claims

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITES = os.environ.get("CONFORMANCE") == "write"
#: Worse ones win: a test with parameters has several.
_ORDER = ("skipped", "passed", "failed")
#: A run of fewer tests is no run of all that are named; what these are takes a while to read.
_FULL_RUN_MIN = 200


def _test_of(node_id: str) -> str:
    return node_id.partition("[")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing."""
    config.pluginmanager.register(_Recorder(), "conformance")


class _Recorder:
    """Hears of every test, also of those that ran in other processes."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        if not _WRITES:
            return
        named = {claim.test for claim in claims()}
        wanted = [item for item in items if _test_of(item.nodeid) in named]
        unwanted = [item for item in items if _test_of(item.nodeid) not in named]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = wanted

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = _test_of(report.nodeid)
        if report.when != "call" and report.passed:
            return
        before = self._outcomes.get(test, _ORDER[0])
        self._outcomes[test] = max(before, report.outcome, key=_ORDER.index)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput") or len(self._outcomes) < _FULL_RUN_MIN:
            return
        if {claim.test for claim in claims()} - self._outcomes.keys():
            return
        from tests.conformance import page  # it asks every name of the guise, if that is there

        states = page.states_of(self._outcomes)
        if _WRITES:
            page.PAGE.write_text(page.rendered(states))
        elif wrong := contradicted(page.states_on(page.PAGE.read_text()), states):
            session.config.get_terminal_writer().line(
                f"docs/reference/conformance.md is not what this run shows of behaviours {wrong}: "
                "scripts/conformance writes it anew"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def contradicted(said: Mapping[int, str], shown: Mapping[int, str]) -> list[int]:
    """The behaviours of which a run shows something else than is said.

    One whose tests were all skipped shows nothing.
    """
    return [number for number, state in shown.items() if state not in {said.get(number), "unknown"}]
