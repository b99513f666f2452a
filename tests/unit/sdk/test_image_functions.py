"""Functions that run in a build: what their key is made of, what is sent, what is refused."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant import Image
from volant.errors import InvalidError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = Image.debian_slim("3.12")
MODULE = """
import functools
import os
import threading
import volant
from volant import App

LIMIT = 3
NAMES = {"b", "a", "c"}
UNUSED = 1
LOCK = threading.Lock()
app = App("x")

class Reader:
    SIZE = 4
    def read(self):
        return LIMIT

READER = Reader()

@functools.cache
def cached():
    return 10

def helper():
    return os.getcwd(), LIMIT

def build(x, y=LIMIT):
    def inner():
        return NAMES
    with LOCK:
        return helper(), inner(), Reader(), READER, cached(), app, volant, x

def alone():
    return 1

async def slowly():
    return 1
"""


@pytest.fixture
def define(project: Path) -> Callable[..., Any]:
    """Write the module, with changes, and import it anew."""

    def made(*changes: tuple[str, str]) -> Any:
        text = MODULE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        name = f"recipe_of_{project.name}"
        (project / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        for cache in project.glob("__pycache__/*"):
            cache.unlink()
        import linecache

        linecache.clearcache()
        return importlib.import_module(name)

    return made


def step(raw: Callable[..., Any], **given: Any) -> dict[str, Any]:
    wire: Any = BASE.run_function(raw, **given).to_wire()
    found: dict[str, Any] = wire["steps"][-1]
    return found


def digest(raw: Callable[..., Any], **given: Any) -> str:
    found: str = step(raw, **given)["digest"]
    return found


def test_a_step_names_the_function_and_its_call_lies_beside(define: Callable[..., Any]) -> None:
    module = define()
    image = BASE.run_function(
        module.alone, args=[1], kwargs={"a": {2}}, timeout=60, memory=512, cpu=2,
        env={"A": "1"}, secrets=[volant.Secret.from_dict({"S": "hidden"})], force_build=True,
    )  # fmt: skip
    described = image.described()
    wire: Any = described.wire
    found = wire["steps"][-1]
    key = found.pop("digest")
    assert found == {
        "kind": "function", "module": module.__name__, "qualname": "alone", "is_async": False,
        "env": {"A": "1"}, "secrets": ["S"], "force": True,
    }  # fmt: skip
    (call,) = [wire["calls"][key]]
    payload = described.contents[call.pop("payload")]
    assert isinstance(payload, bytes)
    assert pickle.loads(payload) == (None, (1,), {"a": {2}})
    assert call == {
        "timeout_s": 60.0, "cpu": 2, "cpu_limit": None, "memory_mib": 512,
        "memory_limit_mib": None,
    }  # fmt: skip
    assert step(module.slowly)["is_async"] is True


@pytest.mark.parametrize(
    "change",
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ('{"b", "a", "c"}', '{"b", "a"}'),
        ("return os.getcwd(), LIMIT", "return os.getcwd()"),
        ("SIZE = 4", "SIZE = 5"),
        ("return 10", "return 11"),
        ("return helper(),", "return helper(), 1,"),
        ("def build(x, y=LIMIT)", "def build(x, y=5)"),
    ],
)
def test_a_change_of_what_the_function_uses_changes_its_key(
    change: tuple[str, str], define: Callable[..., Any]
) -> None:
    """Behaviour 82: its source, values of globals, and what functions and classes use in turn."""
    before = digest(define().build)
    assert digest(define(change).build) != before


def test_a_change_of_anything_else_does_not(define: Callable[..., Any]) -> None:
    before = digest(define().build)
    assert digest(define().build) == before
    assert digest(define(("UNUSED = 1", "UNUSED = 2")).build) == before
    same = define(('"b", "a", "c"', '"c", "b", "a"'), ("LIMIT = 3", "LIMIT = 2 + 1"))
    assert digest(same.build) == before


def test_a_value_that_changes_at_run_time_counts(define: Callable[..., Any]) -> None:
    """Behaviour 82: what counts is the value when the app runs."""
    module = define()
    image = BASE.run_function(module.helper)
    before = image.to_wire()
    module.LIMIT = 99
    assert image.to_wire() != before


def test_arguments_are_part_of_the_key(define: Callable[..., Any]) -> None:
    """Behaviour 82."""
    raw = define().alone
    made = [
        digest(raw),
        digest(raw, args=(1,)),
        digest(raw, args=("1",)),
        digest(raw, args=(True,)),
        digest(raw, args=([1],)),
        digest(raw, kwargs={"a": 1}),
        digest(raw, kwargs={"a": b"1"}),
    ]
    assert len(set(made)) == len(made)
    assert digest(raw, kwargs={"a": 1, "b": 2}) == digest(raw, kwargs={"b": 2, "a": 1})


def test_what_a_run_may_use_is_not(define: Callable[..., Any]) -> None:
    raw = define().alone
    assert step(raw, timeout=5, memory=1024) == step(raw)


def test_a_value_that_contains_itself_has_a_digest(define: Callable[..., Any]) -> None:
    module = define()
    module.LIMIT = [1]
    module.LIMIT.append(module.LIMIT)
    assert digest(module.helper) == digest(module.helper)


def test_the_key_is_the_same_in_every_process(project: Path, define: Callable[..., Any]) -> None:
    """Although sets are ordered by hashes that differ."""
    module = define()
    code = (
        f"import {module.__name__} as m, volant; i = volant.Image.debian_slim('3.12')\n"
        "print(i.run_function(m.build, args=({'x', 'y', 'z'},)).to_wire()['steps'][1]['digest'])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(project)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert seen == {digest(module.build, args=({"z", "x", "y"},)) + "\n"}


def test_a_script_is_named_by_its_file(project: Path) -> None:
    (project / "my-script.py").write_text(
        "import volant\n"
        "def build(): pass\n"
        "image = volant.Image.debian_slim('3.12').run_function(build)\n"
        "print(image.to_wire()['steps'][1]['module'], image.build_modules())\n"
    )
    run = subprocess.run(
        [sys.executable, "my-script.py"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "my-script ['__main__']\n"


def test_a_module_is_sent_unless_it_is_not_to_be(define: Callable[..., Any]) -> None:
    module = define()
    assert BASE.run_function(module.alone).build_modules() == [module.__name__]
    assert BASE.run_function(module.alone, include_source=False).build_modules() == []


def _nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


class _Holder:
    def method(self) -> None: ...


def _yields() -> Any:
    yield 1


app = volant.App("functions")


@app.function()
def _decorated() -> None: ...


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: None, "cannot run a lambda"),
        (_nested(), "is not in global scope"),
        (_Holder.method, "is not in global scope"),
        (_Holder().method, "needs a plain function"),
        (_yields, "is a generator function"),
        (_decorated, "needs a plain function"),
        (3, "needs a plain function, got 3"),
    ],
)
def test_what_no_build_could_run_is_refused(raw: Any, said: str) -> None:
    """Behaviour 82 for lambdas."""
    with pytest.raises(InvalidError, match=said) as refused:
        BASE.run_function(raw)
    assert refused.value.hint


@pytest.mark.parametrize("given", [{"args": 1}, {"args": "ab"}, {"kwargs": [1]}])
def test_arguments_have_their_form(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="args must be a tuple and kwargs a dict"):
        BASE.run_function(_yields.__globals__["_plain"], **given)


def _plain(*args: object, **kwargs: object) -> None: ...


def test_an_argument_that_cannot_be_sent_says_so() -> None:
    image = BASE.run_function(_plain, args=(threading.Lock(),))
    with pytest.raises(SerializationError, match="arguments of `_plain` cannot be pickled"):
        image.to_wire()


def test_limits_are_checked_like_those_of_functions() -> None:
    with pytest.raises(InvalidError, match=r"timeout must be from 0\.001"):
        BASE.run_function(_plain, timeout=0)
    with pytest.raises(InvalidError, match="memory must be a number"):
        BASE.run_function(_plain, memory="1")  # type: ignore[arg-type]
