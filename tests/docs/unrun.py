"""The commands of documents that are not run where they stand, each with its reason.

Both lists only get shorter: `test_shown.py` fails when an entry is in no document any more, when
there are more than there were, and when what runs a command elsewhere does so no longer.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Elsewhere(NamedTuple):
    """Who runs a command, as seen in a file of this repository."""

    file: str
    text: str


#: Commands that are run, though not by following the page.
ELSEWHERE = {
    "scripts/demo": Elsewhere("tests/e2e/test_examples.py", '[ROOT / "scripts/demo"]'),
    "scripts/test": Elsewhere(".ci/run", "exec scripts/test"),
    "scripts/setup": Elsewhere("scripts/test", "\nscripts/setup\n"),
}
_BENCHMARKS = "needs the peers, gigabytes of packages, and minutes of a machine without other work"
#: Commands that no test runs.
UNRUN = {
    "scripts/check --fix": "rewrites the sources; without --fix it is a part of scripts/test",
    "scripts/test-fast": "runs tests that the run of this one has as well",
    "scripts/conformance": "runs all tests, and this one with them",
    "scripts/bench": _BENCHMARKS,
    "scripts/bench --quick": _BENCHMARKS,
    "scripts/bench calls maps": _BENCHMARKS,
    "scripts/bench --json rounds.json": _BENCHMARKS,
    "scripts/bench --markdown": _BENCHMARKS,
}


def command_of(line: str) -> str:
    """A line of shell without its remark."""
    return re.sub(r"(^|\s+)#.*", "", line).strip()


def is_run(line: str) -> bool:
    """Whether who follows the page types it."""
    return command_of(line) not in {*ELSEWHERE, *UNRUN}


def without(text: str) -> str:
    """What is left of a block to run."""
    return "".join(line for line in text.splitlines(keepends=True) if is_run(line))
