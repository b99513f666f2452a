"""Zygotes with late imports: when one is built, built again, replaced, and not built any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from volantd.agent.late import templates
from volantd.agent.late.templates import LateTemplates, RefusedError
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


@dataclass(eq=False)
class Prepared:
    late: tuple[str, ...]
    is_kept: bool = True


@dataclass
class Store:
    """Prepares at once; fails where it is told to."""

    failures: list[Exception] = field(default_factory=list)
    built: list[tuple[str, ...]] = field(default_factory=list)
    retired: list[Any] = field(default_factory=list)
    #: names that no function begins with
    unwanted: set[str] = field(default_factory=set)
    meanwhile: Callable[[], None] = lambda: None
    running: set[Any] = field(default_factory=set)

    @property
    def tasks(self) -> Store:
        return self

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def prepare_late(self, version: object, names: Sequence[str]) -> Prepared:
        self.built.append(tuple(names))
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        return Prepared(tuple(name for name in names if name not in self.unwanted))

    def keeps(self, prepared: Prepared) -> bool:
        return prepared.is_kept

    def retire(self, prepared: Prepared) -> None:
        self.retired.append(prepared)


def _function(name: str = "f", key: str = "v", **changes: Any) -> Any:
    fields = {
        "imports": True,
        "snapshot": None,
        "entry": {"module": "app"},
        "gpu": [],
        "stored": [],
        **changes,
    }
    gpu = fields.pop("gpu")
    version = SimpleNamespace(key=key, **fields)
    return SimpleNamespace(name=name, version=version, options={"gpu": gpu})


class Place:
    """The templates, and a loop in which their quiet time passes at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(templates, "BUILD_DELAY_S", 0.0)
        self.store = Store()
        store: Any = self.store
        self.late = LateTemplates(store, is_on=True)
        self.runner = asyncio.Runner()

    def learn(self, *names: str, function: Any = None) -> None:
        async def learn() -> None:
            self.late.learn(function or _function(), names)
            await self._settle()

        self.runner.run(learn())

    def find(self, function: Any = None) -> Any:
        async def find() -> Any:
            found = self.late.find(function or _function())
            await self._settle()
            return found

        return self.runner.run(find())

    async def _settle(self) -> None:
        for _ in range(3):  # the timer, the task, its end
            await asyncio.sleep(0)
        while self.store.running:
            await asyncio.wait(self.store.running)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Place(monkeypatch)
    yield made
    made.runner.close()


def test_what_is_told_is_built_for_that_function_alone(place: Place) -> None:
    place.learn("a", "b")
    assert place.store.built == [("a", "b")]
    assert place.find().late == ("a", "b")
    assert place.find(_function("g")) is None
    assert place.find(_function(key="w")) is None


def test_what_is_known_is_not_built_again(place: Place) -> None:
    place.store.unwanted = {"b"}
    place.learn("a", "b")
    place.learn("b", "a")
    assert place.store.built == [("a", "b")]


def test_a_later_one_takes_the_place_of_the_first(place: Place) -> None:
    place.learn("a")
    first = place.find()
    place.learn("b")
    assert place.find().late == ("a", "b")
    assert place.store.retired == [first]


def test_one_that_is_gone_is_built_again(place: Place) -> None:
    place.learn("a")
    place.find().is_kept = False
    assert place.find() is None
    assert place.store.built == [("a",), ("a",)]
    assert place.find().late == ("a",)


def test_what_is_refused_is_left_out_from_then_on(place: Place) -> None:
    place.store.failures = [RefusedError("a", "it prints")]
    place.learn("a", "b")
    assert place.store.built == [("a", "b"), ("b",)]
    place.learn("a", "c")
    assert place.store.built[-1] == ("b", "c")


@pytest.mark.parametrize("failure", [PrepareFailedError(b""), RuntimeFailedError("it died")])
def test_what_fails_for_another_reason_is_not_tried_again(place: Place, failure: Exception) -> None:
    place.store.failures = [failure]
    place.learn("a", "b")
    place.learn("a")
    assert place.store.built == [("a", "b")]
    assert place.find() is None


def test_what_is_told_while_one_is_built_is_in_the_next(place: Place) -> None:
    place.store.meanwhile = lambda: place.late.learn(_function(), ("b",))
    place.learn("a")
    assert place.store.built == [("a",), ("a", "b")]


def test_who_tells_something_new_each_time_is_heard_a_few_times(place: Place) -> None:
    for number in range(30):
        place.learn(*(f"m{number}_{index}" for index in range(9)))
    assert len(place.store.built) == templates.BUILDS_MAX
    assert all(len(names) <= templates.NAMES_MAX for names in place.store.built)


def test_functions_that_were_used_long_ago_are_forgotten(place: Place) -> None:
    for number in range(templates.FUNCTIONS_MAX + 1):
        place.learn("a", function=_function(f"f{number}"))
    assert len(place.store.retired) == 1
    assert place.find(_function("f0")) is None
    assert place.find(_function("f1")) is not None


@pytest.mark.parametrize(
    "function",
    [
        _function(gpu=[["H100", 1]]), _function(snapshot={}), _function(imports=False),
        _function(stored=[{"name": "db"}]), _function(entry={"module": None}),
    ],
    ids=["a GPU", "a snapshot", "a shell", "a stored secret", "no sources"],
)  # fmt: skip
def test_some_functions_are_not_watched(place: Place, function: Any) -> None:
    assert not place.late.watches(function)
    place.learn("a", function=function)
    assert place.store.built == []
