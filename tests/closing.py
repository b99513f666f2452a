"""The last lines of a run name what failed.

Where nobody watches, pytest shows differences whole, and only the end of all that may be kept.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_CHARACTERS_MAX = 300


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print each failure once more, in a line of its own, after all that pytest prints."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker, whose reports the run itself has
        return
    stats = reporter.stats
    for report in itertools.chain(stats.get("failed", ()), stats.get("error", ())):
        reporter.write_line(failure_line(report))


def failure_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What failed and the beginning of why, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    why = crash.message if crash else str(report.longrepr)
    return f"failed: {report.nodeid}: {why}".replace("\n", " ")[:_CHARACTERS_MAX]
