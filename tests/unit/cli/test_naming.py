"""Texts of the command under the name that was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from volant.cli.shared import naming

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _other() -> Iterator[None]:
    naming.call("guise")
    yield
    naming.call(naming.OWN)


@pytest.mark.usefixtures("_other")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`volant run -m pkg.mod`", "`guise run -m pkg.mod`"),
        ('app = volant.App("name")', 'app = guise.App("name")'),
        ("write @volant.method()", "write @guise.method()"),
        ("Usage: volant app list", "Usage: guise app list"),
        ("/tmp/volant run", "/tmp/volant run"),
        ("volantd is gone", "volantd is gone"),
        ("x.volant.App", "x.volant.App"),
        ("my-volant run", "my-volant run"),
        ("the package volant", "the package volant"),
    ],
)
def test_commands_and_names_are_shown_under_it_and_nothing_else(text: str, shown: str) -> None:
    assert naming.as_typed(text) == shown


@pytest.mark.usefixtures("_other")
def test_a_path_that_was_typed_is_one_of_our_own() -> None:
    assert naming.path_of("guise app") == "volant app"
    assert naming.path_of("guise") == "volant"
    assert naming.path_of("other app") == "other app"


def test_nothing_changes_under_its_own_name() -> None:
    assert naming.as_typed("`volant run`") == "`volant run`"
    assert naming.path_of("volant app") == "volant app"
