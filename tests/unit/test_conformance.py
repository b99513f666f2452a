"""What a run of the tests says of behaviours, and what becomes of a page that says otherwise."""

from __future__ import annotations

from tests.conformance import page
from tests.conformance.claims import claims
from tests.conformance.commands import command_states
from tests.conformance.recording import contradicted


def test_states_come_from_what_became_of_the_tests() -> None:
    ended = {claim.test: "passed" for claim in claims()}
    states = page.states_of(ended)
    assert states[60] == page.BETTER
    assert states[1] == page.PASSING
    of_first = [claim.test for claim in claims() if 1 in claim.numbers]
    assert page.states_of({**ended, of_first[0]: "failed"})[1] == page.FAILING
    assert page.states_of({**ended, **dict.fromkeys(of_first, "skipped")})[1] == page.UNKNOWN


def test_a_page_keeps_its_states_when_it_is_made_anew() -> None:
    states = dict.fromkeys(range(1, 150), page.PASSING) | {150: page.FAILING}
    text = page.rendered(states)
    assert page.states_on(text) == states
    assert page.rendered(page.states_on(text)) == text


def test_a_page_that_says_something_else_is_told_unless_nothing_ran() -> None:
    said = {1: page.PASSING, 2: page.BETTER, 3: page.PASSING}
    shown = {1: page.PASSING, 2: page.PASSING, 3: page.UNKNOWN, 4: page.PASSING}
    assert contradicted(said, shown) == [2, 4]


def test_commands_are_asked_for_what_they_take() -> None:
    found = {one.command: one for one in command_states()}
    assert found["run"].state == "implemented"
    assert found["billing report"].state == "missing"
    assert "--since" in found["function stats"].lacks
