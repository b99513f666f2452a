"""The page docs/reference/conformance.md: what a run of the tests has shown, and which names are.

States of behaviours are a run's (`recording.py`); whatever else stands there is found in the tests
and in the packages, so that the page can be made anew between runs.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.conformance import names
from tests.conformance.claims import behaviours, claims
from tests.conformance.commands import command_states
from tests.conformance.reasons import part_of, told
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conformance.claims import Claim

PAGE = ROOT / "docs/reference/conformance.md"
NOTICE = "<!-- made by the tests: scripts/conformance runs those that are named and writes it -->\n"
PASSING, BETTER, ABSENT = "passing", "deliberately better", "not applicable"
IN_PART, FAILING, UNKNOWN = "passing in part", "failing", "unknown"

_ROW = re.compile(r"^\| (\d+) \| .*? \| ([a-z ]+) \| .*\|$", re.MULTILINE)


def states_on(text: str) -> dict[int, str]:
    """The state of each behaviour, as a page has it."""
    return {int(number): state for number, state in _ROW.findall(text)}


def states_of(outcomes: Mapping[str, str]) -> dict[int, str]:
    """The state of each behaviour after a run.

    Args:
        outcomes: test -> "passed", "failed" or "skipped".
    """
    found = {}
    named = _by_number()
    for behaviour in behaviours():
        if behaviour.not_applicable:
            found[behaviour.number] = ABSENT
            continue
        of = named.get(behaviour.number, [])
        ended = [outcomes.get(claim.test, "skipped") for claim in of]
        if "failed" in ended:
            found[behaviour.number] = FAILING
        elif "passed" in ended:
            better = any(claim.is_better for claim in of)
            whole = BETTER if better else PASSING
            found[behaviour.number] = IN_PART if behaviour.lacks else whole
        else:
            found[behaviour.number] = UNKNOWN
    return found


def rendered(states: Mapping[int, str]) -> str:
    """The page, with these states of behaviours."""
    return "\n".join([*_head(states), *_behaviours(states), *_commands(), *_names(), ""])


def _by_number() -> dict[int, list[Claim]]:
    found: dict[int, list[Claim]] = {}
    for claim in claims():
        for number in claim.numbers:
            found.setdefault(number, []).append(claim)
    return found


def _head(states: Mapping[int, str]) -> Iterator[str]:
    yield "# Conformance"
    yield ""
    yield NOTICE
    yield "How far programs written for Modal run here unchanged, by the package of `compat/modal`"
    yield "([how](../howto/run-programs-written-for-modal.md)): what they rely on, each with the"
    yield "tests that hold it, and the names of the versions 1.4 to 1.6 of its package."
    yield ""
    yield "| behaviours | number |"
    yield "|---|---|"
    counts = Counter(states.get(one.number, UNKNOWN) for one in behaviours())
    for state in (PASSING, BETTER, IN_PART, ABSENT, FAILING, UNKNOWN):
        yield f"| {state} | {counts[state]} |"
    yield ""


def _behaviours(states: Mapping[int, str]) -> Iterator[str]:
    yield "## Behaviours"
    yield ""
    yield "| number | behaviour | state | tests |"
    yield "|---|---|---|---|"
    named = _by_number()
    for one in behaviours():
        tests = "<br>".join(f"`{claim.test}`" for claim in named.get(one.number, []))
        state = states.get(one.number, UNKNOWN)
        title = f"{one.title} (lacking: {one.lacks})" if one.lacks else one.title
        yield f"| {one.number} | {title} | {state} | {tests or one.not_applicable} |"
    yield ""


def _commands() -> Iterator[str]:
    found = list(command_states())
    counts = Counter(one.state for one in found)
    yield "## Commands"
    yield ""
    yield "`modal` takes these, and all others of `volant`. One that is missing says so, as does an"
    yield "option that is not there."
    yield ""
    yield "| commands | number |"
    yield "|---|---|"
    for state in ("implemented", "partial", "missing"):
        yield f"| {state} | {counts[state]} |"
    yield ""
    yield "| command | versions | state | lacks |"
    yield "|---|---|---|---|"
    for one in found:
        lacks = told((lack, f"$ {one.command} {lack}") for lack in one.lacks)
        if one.state == "missing":
            lacks = told([("", f"$ {one.command}")])
        yield f"| `modal {one.command}` | {', '.join(one.versions)} | {one.state} | {lacks} |"
    yield ""


def _names() -> Iterator[str]:
    yield "## Names"
    yield ""
    yield "A name that is missing can be imported and mentioned, and says so when it is used. Of"
    yield "one that is partial, the rest is listed: members, and parameters (`name=`), which are"
    yield "refused. What stands before a reason says of which kind it is: a *hosted* service or"
    yield "*hardware* that a machine of one's own is not, a name that is *gone* or the package's"
    yield "*own* affair; or it could be here, and is *not yet*."
    found = list(names.states())
    counts = Counter(one.state for one in found)
    yield ""
    yield "| names | number |"
    yield "|---|---|"
    for state in ("implemented", "partial", "missing", "unresolved"):
        yield f"| {state} | {counts[state]} |"
    module = ""
    for one in found:
        if one.module != module:
            module = one.module
            yield ""
            yield f"### `{module}`"
            yield ""
            yield "| name | versions | state | lacks |"
            yield "|---|---|---|---|"
        lacks = told((lack, part_of(one.module, one.name, lack)) for lack in one.lacks)
        if one.state == "missing":
            lacks = told([("", f"{one.module}.{one.name}")])
        if one.lacks and one.is_alias:
            lacks = f"what `modal.{one.name}` lacks"
        yield f"| `{one.name}` | {', '.join(one.versions)} | {one.state} | {lacks} |"
