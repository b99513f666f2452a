"""`enable_memory_snapshot`: hooks that run once, in the template of all containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import snapshots
from tests.behaviours.programs import Program
from volant.errors import ExecutionError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with snapshots.app.run():
        yield


def test_containers_share_what_the_template_loaded() -> None:
    """Behaviour 56: `enter(snap=True)` once for all of them, `enter` once in each."""
    calls = [snapshots.Model().state.spawn() for _ in range(3)]
    states = [call.get() for call in calls]
    for log, loaded_in, _, _ in states:
        assert log == ["load 3", "load_async", "warm"]
        assert loaded_in == "the template"
    assert len({state[2]["template"] for state in states}) == 1
    containers = {state[3] for state in states}
    assert len({state[2]["container"] for state in states}) == len(containers)


def test_each_set_of_parameters_has_a_template() -> None:
    assert snapshots.Model(size=5).state.remote()[0][0] == "load 5"
    assert snapshots.Model(size=6).state.remote()[0][0] == "load 6"


def test_a_failing_hook_fails_the_calls_with_its_exception() -> None:
    with pytest.raises(LookupError, match="no weights"):
        snapshots.Failing().answer.remote()


def test_a_template_cannot_call_functions() -> None:
    with pytest.raises(ExecutionError, match=r"`other` is called before there is a container"):
        snapshots.Holding(what="call").where.remote()


@pytest.mark.parametrize(
    ("what", "culprit"),
    [
        ("thread", "left thread `poller`"),
        ("connection", "a connection to 127.0.0.1:"),
        ("child", "child process "),
    ],
)
def test_what_cannot_be_forked_is_named_and_each_container_runs_the_hooks(
    volant_home: Path, what: str, culprit: str
) -> None:
    program = Program("snapshots.py", what, home=volant_home)
    code, printed, complaint = program.end()
    assert code == 0, complaint
    assert printed.splitlines()[-1].startswith("ta-")
    assert culprit in printed + complaint
    assert "containers cannot share" in printed + complaint


def test_hooks_of_a_template_need_one() -> None:
    """Behaviour 63."""
    with pytest.raises(InvalidError, match="no template to run it in"):
        volant.App("x").cls(serialized=True)(WithoutTemplate)


class WithoutTemplate:
    @volant.enter(snap=True)
    def load(self) -> None: ...

    @volant.method()
    def answer(self) -> int:
        return 42
