"""The examples in the docstrings of images and patterns are true."""

from __future__ import annotations

import doctest
import inspect
from typing import TYPE_CHECKING

import pytest

from volant.sdk.images.image import Image
from volant.sdk.images.patterns import FilePatternMatcher

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = [
    (kind, name)
    for kind in (Image, FilePatternMatcher)
    for name, member in inspect.getmembers(kind)
    if not name.startswith("_")
    and (inspect.isfunction(member) or inspect.ismethod(member) or isinstance(member, property))
    and inspect.getdoc(member) is not None
]
#: Methods for the machinery of an app, and some that need a daemon or what is not there yet.
WITHOUT_EXAMPLE = {
    "described", "to_wire", "build_modules", "matches", "covers", "compiled", "client",
    "get_dashboard_url", "is_hydrated",
}  # fmt: skip
NOT_RUN = {"pip_install_private_repos", "publish", "logs"}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in PUBLIC if name not in WITHOUT_EXAMPLE]
)
def test_each_public_method_has_an_example_that_is_true(
    kind: type, name: str, project: Path
) -> None:
    member = inspect.getattr_static(kind, name)
    text = inspect.getdoc(getattr(member, "fget", member)) or inspect.getdoc(getattr(kind, name))
    assert text is not None
    assert "Example:" in text
    names = {"Image": Image, "FilePatternMatcher": FilePatternMatcher}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    assert bool(test.examples) is (name not in NOT_RUN)
    runner = doctest.DocTestRunner(verbose=False)
    told: list[str] = []
    runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_the_example_of_the_matcher_itself_is_true() -> None:
    text = inspect.getdoc(FilePatternMatcher) or ""
    names = {"FilePatternMatcher": FilePatternMatcher}
    test = doctest.DocTestParser().get_doctest(text, names, "matcher", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    told: list[str] = []
    runner.run(test, out=told.append)
    assert runner.tries == 4
    assert not runner.failures, "".join(told)
