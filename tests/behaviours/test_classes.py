"""Classes with state: their hooks, parameters, pools and handles."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import classes, ordered
from tests.behaviours.apps.classes import Broken, Counter, Mode, Pair, Size
from tests.behaviours.programs import APPS, WITHIN_S, run_program
from volant.errors import ExecutionError, FunctionTimeoutError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with classes.app.run():
        yield


def test_a_container_keeps_its_instance() -> None:
    """Behaviour 56: hooks of base classes first, plain and async ones in order, once."""
    counter = Counter(start=100)
    assert [counter.add.remote(1), counter.add.remote(2)] == [101, 103]
    assert counter.state.remote()["log"] == ["begin", "load", "load_async"]


def test_the_parts_of_a_container_run_in_their_order() -> None:
    """Behaviour 56: what the last of them wrote is in the volume, so that is committed last."""
    with ordered.app.run():
        url = ordered.Ordered().web.get_web_url()
        with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
            assert answer.read() == b"answered"
    assert b"".join(ordered.volume.read_file("order")).decode().splitlines() == [
        "enter(snap=True)", "enter", "async enter", "ASGI startup", "input", "ASGI shutdown",
        "exit", "async exit",
    ]  # fmt: skip


def test_equal_parameters_share_containers_and_different_ones_do_not() -> None:
    """Behaviour 59: equality is that of values, also of enums and dataclasses."""
    first = Counter(start=200, mode=Mode.SLOW, size=Size(3)).state.remote()
    same = Counter(size=Size(3, 2), mode=Mode.SLOW, start=200).state.remote()
    other = Counter(start=200, mode=Mode.SLOW, size=Size(3, 2.5)).state.remote()
    assert first["parameters"] == (200, Mode.SLOW, Size(3), b"\0")
    assert same["pid"] == first["pid"]
    assert other["pid"] != first["pid"]


def test_every_kind_of_method_can_be_called() -> None:
    counter = Counter(start=300)
    assert counter.add_async.remote(1) == 301
    assert list(counter.count.remote_gen(3)) == [300, 301, 302]
    assert list(counter.count_async.remote_gen(2)) == [300, 301]
    assert list(counter.add.map([1, 1])) == [302, 303]
    assert counter.add.spawn(1).get() == 304
    with pytest.raises(Broken, match="on purpose"):
        counter.fail.remote()


def test_methods_are_registered_by_the_name_of_their_class() -> None:
    """Behaviour 74: functions by their own."""
    names = list(classes.app.registered_functions)
    assert [one for one in names if "Pair" in one] == ["Pair.times", "Pair.both", "Pair.other"]
    assert {"pass_on", "identify"} <= set(names)


def test_what_is_inherited_works() -> None:
    """Behaviours 60 and 65: methods, hooks and parameters of a base class."""
    assert Counter(prefix="mine").inherited.remote() == "mine begin"


def test_methods_call_one_another() -> None:
    """Behaviour 65: `self.other.local()` is the same instance, `.remote()` its pool."""
    assert Pair(factor=3).both.remote(5) == (15, 15)
    assert Pair(factor=3).other.remote(5) == 20


def test_enter_runs_before_a_local_call_and_not_before_plain_attributes() -> None:
    """Behaviour 57; the parameters are those of behaviour 58."""
    counter = Counter(start=400)
    assert counter.start == 400
    assert counter.plain() == 401
    assert not hasattr(counter, "value")
    assert counter.add.local(1) == 401
    assert counter.value == 401


def test_a_local_call_of_an_async_method_enters_on_the_running_loop() -> None:
    async def use() -> None:
        counter = Counter(start=500)
        assert await counter.add_async.local(1) == 501
        assert counter.log == ["begin", "load", "load_async"]
        with pytest.raises(InvalidError, match="cannot be entered by a plain method"):
            Counter(start=501).add.local(1)

    asyncio.run(use())


def test_a_hook_that_fails_fails_the_calls() -> None:
    with pytest.raises(Broken, match="the weights are missing"):
        classes.BrokenAtStart().answer.remote()


def test_several_inputs_at_once_mix_generators_and_methods_of_both_kinds() -> None:
    """Behaviour 51, of classes: more values than one window, beside other inputs."""
    for handle, plain in ((classes.Together(), "blocking"), (classes.InThreads(), "plain")):
        spawned = getattr(handle, plain).spawn(5)
        assert list(handle.stream.remote_gen(3000)) == list(range(3000))
        assert spawned.get() == -5


def test_other_options_mean_a_pool_of_their_own() -> None:
    """Behaviour 45: the first handle stays as it is; a second change adds to the first."""
    plain = classes.identify
    red = plain.with_options(env={"COLOUR": "red"})
    again = plain.with_options(env={"COLOUR": "red"})
    large = red.with_options(memory=256)
    assert plain.remote()[0] == ""
    assert red.remote() == again.remote()
    assert red.remote()[0] == "red"
    assert large.remote()[0] == "red"
    assert large.remote()[1] != red.remote()[1]
    assert red.with_options(env={"COLOUR": "blue"}).remote()[0] == "blue"  # the last one wins
    assert (plain.remote()[0], red.remote()[0]) == ("", "red")


def test_options_that_are_none_are_left_as_they_are() -> None:
    """Behaviour 45: as if they were not given; also a timeout, which no function is without."""
    same = classes.identify.with_options(
        cpu=None, memory=None, gpu=None, env=None, secrets=None, volumes=None, retries=None,
        max_containers=None, buffer_containers=None, scaledown_window=None, timeout=None,
        region=None, cloud=None, routing_region=None,
    )  # fmt: skip
    assert same._options == classes.identify._options
    assert same.remote() == classes.identify.remote()


def test_other_options_ask_nobody_until_they_are_used(tmp_path: Path) -> None:
    """Behaviour 45: of functions and classes, looked up or not; a daemon is not even started."""
    program = (
        "import sys, volant\n"
        "app = volant.App('x')\n"
        "def f(x): return x\n"
        "for one in (app.function(serialized=True)(f), volant.Function.from_name('a', 'f'),\n"
        "            volant.Cls.from_name('a', 'C')):\n"
        "    made = one.with_options(memory=256).with_options(timeout=9)\n"
        "    made = made.with_concurrency(max_inputs=3)\n"
        "    made = made.with_batching(max_batch_size=2, wait_ms=1)\n"
        "    print(made is one, isinstance(made, (volant.Function, volant.Cls)))\n"
        "made = volant.Cls.from_name('a', 'C').with_options(memory=256)(size=3)\n"
        "print('volant.channel.opening' in sys.modules)\n"
    )
    run = run_program("-c", program, home=tmp_path)
    assert run.stdout == "False True\n" * 3 + "False\n"
    assert list(tmp_path.iterdir()) == []


def test_a_class_can_have_other_options() -> None:
    with_more = Counter.with_options(memory=256)  # type: ignore[attr-defined]  # of `Cls`
    first = Counter(start=600).state.remote()["pid"]
    second = with_more(start=600).state.remote()
    assert second["pid"] != first
    assert second["parameters"][0] == 600
    several = Pair.with_concurrency(max_inputs=5)  # type: ignore[attr-defined]  # of `Cls`
    assert several(factor=2).times.remote(4) == 8


def test_a_method_can_have_other_options() -> None:
    """Behaviour 45: they are those of its object's class, with the same parameters."""
    with_more = Counter(start=650).state.with_options(memory=256)
    assert with_more.remote()["parameters"][0] == 650
    of_class = Counter.with_options(memory=256)  # type: ignore[attr-defined]  # of `Cls`
    assert of_class(start=650).state.remote()["pid"] == with_more.remote()["pid"]
    assert Pair(factor=2).other.with_concurrency(max_inputs=5).remote(4) == 12


def test_handles_travel() -> None:
    """Behaviour 136: as an argument, and through a pickle."""
    counter = Counter(start=700)
    assert classes.pass_on.remote(counter, 1) == 701
    assert pickle.loads(pickle.dumps(counter.add)).remote(1) == 702
    other = Counter.with_options(memory=256)(start=710)  # type: ignore[attr-defined]  # of `Cls`
    assert classes.pass_on.remote(other, 1) == 711


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Counter(99), "takes keywords only, got 99"),
        (lambda: Counter(start="1"), "`start` must be int, got '1'"),
        (lambda: Counter(start=True), "`start` must be int, got True"),
        (lambda: Counter(start=1 << 64), "more than 64 bits"),
        (lambda: Counter(stat=1), "has no parameter `stat`"),
        (lambda: Counter(hidden=b""), "has no parameter `hidden`"),
        (lambda: Counter(mode="FAST"), "`mode` must be Mode"),
        (lambda: Counter(prefix="x" * 20_000), "take 20[0-9]{3} bytes, at most 16384"),
        (Pair, r"lacks the parameter `factor`"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make: Any, complaint: str) -> None:
    """Behaviour 58."""
    with pytest.raises(InvalidError, match=complaint):
        make()


class Typed:
    """A parameter of each plain type."""

    text: str = volant.parameter()
    count: int = volant.parameter()
    data: bytes = volant.parameter()
    flag: bool = volant.parameter()
    ratio: float = volant.parameter(default=0.5)
    fixed: int = volant.parameter(default=7, init=False)

    @volant.method()
    def given(self) -> tuple[object, ...]:
        return self.text, self.count, self.data, self.flag, self.ratio, self.fixed


def test_parameters_of_every_plain_type_arrive() -> None:
    """Behaviour 58, deliberately better: `float` as well; one that is missing says so on use."""
    app = volant.App("typed")
    made: Any = app.cls(serialized=True)(Typed)
    with app.run():
        given = {"text": "a", "count": -1, "data": b"\0", "flag": False}
        assert made(**given).given.remote() == ("a", -1, b"\0", False, 0.5, 7)
        assert made(**given, ratio=2.5).given.remote() == ("a", -1, b"\0", False, 2.5, 7)
        with pytest.raises(InvalidError, match="lacks the parameter `data`"):
            made(count=1).given.remote()


class Slow:
    @volant.method()
    def sleep(self) -> None:
        threading.Event().wait()


def test_the_timeout_of_a_class_is_that_of_each_call() -> None:
    """Behaviour 8: and the hint names the decorator that has it."""
    app = volant.App("slow")
    made: Any = app.cls(serialized=True, timeout=0.3)(Slow)
    with app.run(), pytest.raises(FunctionTimeoutError, match=r"`Slow`.* 0\.3 s") as caught:
        made().sleep.remote()
    assert "@app.cls(timeout=" in str(caught.value.hint)


def test_a_method_needs_an_instance() -> None:
    """Behaviour 61: in every form, and of a class that was looked up."""
    found: Any = volant.Cls.from_name("some-app", "Some")
    for use in (lambda: Counter.add, lambda: Counter.add.remote(1), lambda: found.add.spawn(1)):
        with pytest.raises(AttributeError, match="Did you forget to instantiate"):
            use()


def test_a_method_before_the_app_runs_says_so() -> None:
    stopped = volant.App("stopped")

    @stopped.cls(serialized=True)
    class Idle:
        @volant.method()
        def answer(self) -> int:
            return 1

    with pytest.raises(ExecutionError, match="hydrated"):
        Idle().answer.remote()


def test_a_class_of_a_closure_travels_by_value() -> None:
    """Behaviour 37, of classes."""
    app, bonus = volant.App("by-value"), 5

    @app.cls(serialized=True)
    class Closure:
        base: int = volant.parameter(default=1)

        @volant.enter()
        def load(self) -> None:
            self.bonus = bonus

        @volant.method()
        def answer(self) -> int:
            return self.base + self.bonus

    with app.run():
        assert Closure(base=2).answer.remote() == 7


class WithConstructor:
    def __init__(self, value: int, *, more: int = 0) -> None:
        self.value = value + more

    @volant.method()
    def answer(self) -> int:
        return self.value


def test_a_constructor_of_its_own_gets_its_arguments() -> None:
    """Behaviour 60, deliberately better: it works, and does not warn."""
    app = volant.App("constructor")
    made: Any = app.cls(serialized=True)(WithConstructor)
    with app.run():
        assert made(3, more=4).answer.remote() == 7
        assert made(1).answer.remote() == 1


def test_exit_hooks_print_before_the_program_ends(tmp_path: Path) -> None:
    """Behaviour 56: at the end of the app, those of the base class too."""
    command = [sys.executable, "-m", "volant", "run", "classes.py::Counter.add", "--by", "1"]
    ran = subprocess.run(command, cwd=APPS, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines() == ["end of base", "goodbye from 10", "11"]
