"""`import modal`: every name of its versions resolves, costs next to nothing, and is Volant's."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatchcase

import pytest

import modal
import volant
from tests.conformance import names, page, reasons
from tests.conformance.claims import behaviours, claims

#: Of the 150, so many have to pass.
PASSING_MIN = 140
#: What a first `import modal` may load: itself, its settings, `volant` and its version.
MODULES = {"modal", "modal._settings", "volant", "volant.version", "__future__"}


def test_importing_it_loads_nothing_of_volant_that_is_not_used() -> None:
    code = "import sys; b = set(sys.modules); import modal; print(*(set(sys.modules) - b))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= MODULES


def test_every_public_name_resolves() -> None:
    """Also those that went, and those of modules that nobody should use."""
    assert [f"{one.module}.{one.name}" for one in names.states() if one.state == "unresolved"] == []


@pytest.mark.parametrize("name", volant.__all__)
def test_a_name_of_both_is_the_same_thing(name: str) -> None:
    if name != "__version__":
        assert getattr(modal, name) is getattr(volant, name)


def test_a_name_of_neither_is_refused() -> None:
    for module in (modal, modal.exception, modal.types, modal.sandbox):
        with pytest.raises(AttributeError, match="nothing_like_it"):
            _ = module.nothing_like_it
    assert {"App", "exception", "clustered"} <= set(dir(modal))


@pytest.mark.parametrize(
    ("name", "now"),
    [("Stub", "modal.App"), ("Mount", "add_local_dir"), ("gpu", 'gpu="A100"'), ("build", "enter")],
)
def test_a_name_that_went_says_what_took_its_place(name: str, now: str) -> None:
    """Programs that look whether it is there see that it is not."""
    assert not hasattr(modal, name)
    with pytest.raises(AttributeError, match=now):
        getattr(modal, name)
    with pytest.raises(ImportError, match=now):
        exec(f"from modal import App, {name}")


def test_names_that_programs_reach_for_without_being_told_to_are_there() -> None:
    """The name of the account, and the type of what `app.local_entrypoint()` makes."""
    app = modal.App("reached")

    @app.local_entrypoint()
    def main() -> None:
        pass

    assert modal.config._profile == "default"
    assert isinstance(main, modal.app.LocalEntrypoint)


def test_errors_are_found_where_programs_look_for_them() -> None:
    assert modal.exception.NotFoundError is volant.errors.NotFoundError
    assert modal.exception.ImageBuildError is volant.errors.ImageBuildError
    assert modal.volume.InvalidError is volant.errors.InvalidError
    assert issubclass(modal.exception.TimeoutError, TimeoutError)


def test_whatever_is_not_there_has_a_reason() -> None:
    """And no reason is left of what is there by now."""
    absent = list(reasons.absences())
    assert [one for one in absent if reasons.reason_of(one) is None] == []
    kinds = {one.kind for one in reasons.reasons()}
    assert kinds == {"hosted", "hardware", "gone", "own", "not yet"}
    for reason in reasons.reasons():
        for pattern in reason.patterns:
            assert any(fnmatchcase(one, pattern) for one in absent), pattern


def test_the_page_of_conformance_has_every_behaviour_and_none_that_fails() -> None:
    said = page.states_on(page.PAGE.read_text())
    assert [one.number for one in behaviours()] == list(range(1, 151)) == list(said)
    allowed = {page.PASSING, page.BETTER, page.IN_PART, page.ABSENT}
    assert {number: state for number, state in said.items() if state not in allowed} == {}
    held = [state for state in said.values() if state in {page.PASSING, page.BETTER}]
    assert len(held) >= PASSING_MIN


def test_no_test_names_a_behaviour_that_there_is_not() -> None:
    known = {one.number for one in behaviours()}
    assert [one.test for one in claims() if not known.issuperset(one.numbers)] == []
    applicable = {one.number for one in behaviours() if not one.not_applicable}
    assert applicable == {number for claim in claims() for number in claim.numbers}
