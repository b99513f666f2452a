"""What makes no sense in a class is refused where it is written, in words that say what does."""

from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant.errors import InvalidError
from volant.sdk.classes.parameters import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable

app = volant.App("definitions")


class Answering:
    """A base for whoever needs no other method."""

    @volant.method()
    def answer(self) -> int:
        return 42


@dataclasses.dataclass
class Nested:
    sizes: list[int]


class WithoutAnnotation(Answering):
    size = volant.parameter(default=1)


class OfAList(Answering):
    sizes: list[int] = volant.parameter()


class OfAnOption(Answering):
    size: int | None = volant.parameter(default=None)


class OfNested(Answering):
    nested: Nested = volant.parameter()


class OfNobodyKnowsWhat(Answering):
    size: Unknown = volant.parameter()  # type: ignore[name-defined]  # noqa: F821


class WithoutParentheses(Answering):
    size: int = volant.parameter  # type: ignore[assignment]


class WithWrongDefault(Answering):
    size: int = volant.parameter(default="1")


class WithConstructor(Answering):
    size: int = volant.parameter(default=1)

    def __init__(self) -> None: ...


class WithoutMethods:
    def answer(self) -> int:
        return 42


class WithFunction(Answering):
    @app.function(serialized=True)
    def more(self) -> int:
        return 43


@pytest.mark.parametrize(
    ("user_cls", "complaint", "hint"),
    [
        (WithoutAnnotation, "`size` of class `WithoutAnnotation` needs an annotation", "size: int"),
        (OfAList, "`sizes` of class `OfAList` cannot be of type", "a dataclass of these"),
        (OfAnOption, "`size` of class `OfAnOption` cannot be of type", "a dataclass of these"),
        (OfNested, "field `sizes` of `Nested` cannot be of type", "a dataclass of these"),
        (OfNobodyKnowsWhat, "'Unknown' of parameter `size` .* cannot be evaluated", "import"),
        (WithoutParentheses, "`size` of class `WithoutParentheses` needs parentheses", "()"),
        (WithWrongDefault, "the default of `size` must be int, got '1'", ""),
        (WithConstructor, "parameters and an __init__ of its own", "@volant.enter"),
        (WithoutMethods, "`WithoutMethods` has no method", "@volant.method()"),
        (WithFunction, "`WithFunction.more` is decorated with @app.function", "@volant.method()"),
    ],
)
def test_a_class_that_makes_no_sense_is_refused(user_cls: type, complaint: str, hint: str) -> None:
    """Behaviours 44, 58 and 60: naming the class and the member."""
    with pytest.raises(InvalidError, match=complaint) as refused:
        app.cls(serialized=True)(user_cls)
    assert hint in (refused.value.hint or "")


def batched(name: str) -> Any:
    def take(self: object, values: list[int]) -> list[int]:
        return values

    take.__name__ = name
    return volant.batched(max_batch_size=2, wait_ms=1)(take)


def concurrent(self: object) -> int:
    return 1


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"a": batched("a"), "b": batched("b")}, "the batched method `a` and others"),
        ({"a": batched("a"), "b": volant.method()(lambda self: 1)}, "method `a` and others"),
        ({"a": volant.method()(concurrent)}, "goes on the class, not on its method `a`"),
        ({"a": concurrent, "b": volant.method()(lambda self: 1)}, "not on its method `a`"),
    ],
)
def test_marks_of_inputs_that_do_not_fit_a_class_are_refused(
    members: dict[str, Any], complaint: str
) -> None:
    """Behaviour 64: above and below `@volant.method()`, and without it."""
    volant.concurrent(max_inputs=2)(concurrent)
    with pytest.raises(InvalidError, match=complaint):
        app.cls(serialized=True)(type("Marked", (), members))


def test_a_class_with_required_parameters_cannot_be_kept_ready() -> None:
    class Model(Answering):
        size: int = volant.parameter()

    with pytest.raises(InvalidError, match="which `size` they should have is not known"):
        app.cls(serialized=True, min_containers=1)(Model)


def plain(self: object) -> int:
    return 1


def with_parameter(self: object, path: str) -> None: ...


@pytest.mark.parametrize("name", ["method", "enter", "exit", "cls"])
def test_decorators_need_parentheses(name: str) -> None:
    """Behaviour 39."""
    decorator, whole = (app.cls, "@app.cls") if name == "cls" else (None, f"@volant.{name}")
    with pytest.raises(InvalidError, match=f"^{whole} needs parentheses") as refused:
        (decorator or getattr(volant, name))(Answering if decorator else plain)
    assert f"{whole}()" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("decorate", "complaint"),
    [
        (lambda: volant.parameter(3), "volant.parameter takes keywords only"),
        (lambda: volant.parameter(init=False), "init=False needs a default"),
        (lambda: volant.enter()(volant.method()(plain)), "cannot be stacked"),
        (lambda: volant.method()(volant.exit()(lambda self: None)), "cannot be stacked"),
        (lambda: volant.enter()(with_parameter), "`with_parameter` has parameters beside `self`"),
        (lambda: volant.method()(staticmethod(plain)), "needs a method of a class"),
        (lambda: app.cls()(app.function(serialized=True)(plain)), "use @app.function"),
        (lambda: app.cls()(Local()), "needs a class"),
    ],
)
def test_decorators_that_make_no_sense_are_refused(
    decorate: Callable[[], Any], complaint: str
) -> None:
    """Behaviour 63: stacked, or on what they are not for."""
    with pytest.raises(InvalidError) as refused:
        decorate()
    assert complaint in f"{refused.value} {refused.value.hint}"


class Local:
    """Has no `@app.cls()`."""

    @volant.method()
    def answer(self) -> int:
        return 42


def test_a_class_without_its_decorator_runs_here_only() -> None:
    made: Any = Local()
    assert made.answer() == made.answer.local() == 42
    assert made.answer.__name__ == "answer"
    with pytest.raises(AttributeError, match=r"the class needs @app\.cls\(\)"):
        made.answer.remote()


@app.cls(serialized=True)
class Model(Local):
    size: int = volant.parameter(default=1)

    @volant.method()
    def answer(self) -> int:
        return self.size + super().answer.local()


def test_a_method_reaches_the_one_that_it_replaces() -> None:
    """Behaviour 65."""
    assert Model(size=3).answer.local() == 45


@pytest.mark.parametrize(
    ("use", "error", "complaint"),
    [
        (lambda: Model().answer(), InvalidError, "`Model(...).answer.remote"),
        (lambda: Model().with_options(memory=256), AttributeError, "Model.with_options"),
        (lambda: Model().answers, AttributeError, "no attribute 'answers'"),
        (lambda: volant.Cls.from_name("app", "a model"), InvalidError, "name of a class"),
        (lambda: volant.Cls.from_name("app", "Model", version=0), InvalidError, "count from 1"),
        (lambda: volant.Cls.from_name("app", "Model").ask, AttributeError, "instantiate `Model`"),
    ],
)
def test_what_is_used_in_the_wrong_way_says_the_right_one(
    use: Callable[[], Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error) as refused:
        use()
    text = f"{refused.value} {getattr(refused.value, 'hint', '')}"
    assert complaint in text


def test_a_parameter_without_a_default_has_none_where_its_class_travels_by_value() -> None:
    assert pickle.loads(pickle.dumps(volant.parameter())).default is REQUIRED
