"""Command-line options made from the signature of a function.

    x: int              --x 5               required without a default
    fast: bool          --fast / --no-fast
    when: datetime      --when 2024-05-01T12:30
    mode: Literal[...]  --mode one-of-them
    x: Optional[T]      as T; so is T | None
    x, x=3              text, or the type of the default
    *args               every word from the first that is no option

Underscores become dashes. Anything else is refused before the program runs.
"""

from __future__ import annotations

import datetime
import inspect
import types

from volant.cli.failures import Refused, did_you_mean, did_you_mean_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.cli.target import Target

_MISSING = inspect.Parameter.empty
_WANTED = {
    "int": "an integer",
    "float": "a number",
    "datetime": "a date and time such as 2024-05-01T12:30",
}
_SUPPORTED = "str, int, float, bool, datetime, Literal[...] and Optional of one of these"


class Option:
    """One parameter as an option."""

    def __init__(
        self, parameter: inspect.Parameter, kind: str, convert: Callable[[str], Any]
    ) -> None:
        self.parameter = parameter
        self.flag = "--" + parameter.name.replace("_", "-")
        #: what its value is, for people: "int", "datetime", "one|two"; "bool" takes none
        self.kind = kind
        self.convert = convert

    @property
    def is_switch(self) -> bool:
        """True for a bool, which has the two forms `--x` and `--no-x`."""
        return self.kind == "bool"

    @property
    def required(self) -> bool:
        """True when it has no default."""
        return self.parameter.default is _MISSING

    @property
    def form(self) -> str:
        """How it is written: `--x INT`, `--x / --no-x`."""
        if self.is_switch:
            return f"{self.flag} / --no-{self.flag[2:]}"
        return f"{self.flag} {self.kind if '|' in self.kind else self.kind.upper()}"

    @property
    def sample(self) -> str:
        """How it is written with a value that would do."""
        if self.is_switch:
            return self.flag
        samples = {"int": "1", "float": "0.5", "datetime": "2024-05-01", "str": "text"}
        return f"{self.flag} {samples.get(self.kind, self.kind.split('|')[0])}"


class Options:
    """All options of a function."""

    def __init__(self, raw: Callable[..., Any]) -> None:
        """Make options of a signature.

        Raises:
            Refused: for a parameter that cannot be given on a command line.
        """
        self.options: list[Option] = []
        self.takes_tail = False
        for parameter in signature_of(raw).parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self.takes_tail = True
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                raise Refused(f"`**{parameter.name}` cannot be made options of the command line")
            else:
                self.options.append(_option(parameter))
        self.by_flag = {option.flag: option for option in self.options}
        self.help_flags = ["--help"] if "--h" in self.by_flag else ["-h", "--help"]
        self.by_no_flag = {
            "--no-" + option.flag[2:]: option for option in self.options if option.is_switch
        }


def signature_of(raw: Callable[..., Any]) -> inspect.Signature:
    """The signature with its annotations evaluated.

    Raises:
        Refused: when one cannot be.
    """
    try:
        return inspect.signature(raw, eval_str=True)
    except NameError as error:
        raise Refused(
            f"an annotation cannot be read: {error}",
            hint="its types must be imported at run time, not only for type checkers",
        ) from error


def _option(parameter: inspect.Parameter) -> Option:
    annotation = parameter.annotation
    if annotation is _MISSING:
        default = parameter.default
        annotation = str if default is _MISSING or default is None else type(default)
    made = _converter(_without_none(annotation))
    if made is None:
        text = inspect.formatannotation(annotation)
        raise Refused(
            f"parameter `{parameter.name}: {text}` cannot be made an option",
            hint=f"options are made of {_SUPPORTED}",
        )
    return Option(parameter, *made)


def can_be_option(annotation: Any) -> bool:
    """Whether a parameter of this type can be given on a command line."""
    return _converter(_without_none(annotation)) is not None


def _without_none(annotation: Any) -> Any:
    """T for `Optional[T]` and `T | None`; anything else as it is."""
    import typing

    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _converter(annotation: Any) -> tuple[str, Callable[[str], Any]] | None:
    import typing

    if annotation in (str, int, float):
        return annotation.__name__, annotation
    if annotation is bool:
        return "bool", bool
    if annotation is datetime.datetime:
        return "datetime", datetime.datetime.fromisoformat
    if typing.get_origin(annotation) is typing.Literal:
        choices = {str(choice): choice for choice in typing.get_args(annotation)}
        return "|".join(choices), choices.__getitem__
    return None


def parse(target: Target, words: list[str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Turn the words behind a reference into arguments.

    Returns:
        Positional and keyword arguments, or None when `--help` is among the words.

    Raises:
        Refused: naming the word, option or value that does not fit.
    """
    options = Options(target.raw)
    given: dict[str, Any] = {}
    tail = _take_options(options, words, given, target)
    if tail is None:
        return None
    missing = [one for one in options.options if one.required and one.parameter.name not in given]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        names = ", ".join(f"`{option.form}`" for option in missing)
        raise Refused(f"missing option{plural} {names}", hint=_right_form(target, options))
    return _bind(options, given, tail)


def _take_options(
    options: Options, words: list[str], given: dict[str, Any], target: Target
) -> list[str] | None:
    """Fill `given`; returns the raw tail, or None for `--help`."""
    waiting = list(reversed(words))
    option: Option | None = None
    while waiting:
        word = waiting.pop()
        name, equals, value = word.partition("=")
        if word == "--" and options.takes_tail:
            return waiting[::-1]
        if name in options.by_flag:
            option = options.by_flag[name]
            given[option.parameter.name] = _value(option, value if equals else None, waiting)
        elif word in options.by_no_flag:
            option = options.by_no_flag[word]
            given[option.parameter.name] = False
        elif word in options.help_flags:
            return None
        elif options.takes_tail:
            return [word, *waiting[::-1]]
        else:
            raise _unexpected(word, options, option, target)
    return []


def _unexpected(word: str, options: Options, before: Option | None, target: Target) -> Refused:
    """The error for a word that is no option, behind the option `before`."""
    name = word.partition("=")[0]
    if name.startswith("--") or (name.startswith("-") and name[1:].isidentifier()):
        return _unknown(name, options)
    if before is not None and before.is_switch:
        return Refused(
            f"unexpected argument `{word}`: option `{before.flag}` takes no value",
            hint=f"`{before.form}`",
        )
    return Refused(
        f"unexpected argument `{word}`: options are given by name",
        hint=_right_form(target, options, word),
    )


def _value(option: Option, value: str | None, waiting: list[str]) -> Any:
    if option.is_switch:
        if value is not None:
            raise Refused(f"option `{option.flag}` takes no value", hint=f"`{option.form}`")
        return True
    if value is None:
        if not waiting or waiting[-1] == "--help":
            raise Refused(f"option `{option.flag}` needs a value", hint=f"`{option.form}`")
        value = waiting.pop()
    try:
        return option.convert(value)
    except (ValueError, KeyError):
        wanted, hint = _WANTED.get(option.kind, ""), ""
        if not wanted:
            choices = option.kind.split("|")
            wanted = "one of " + ", ".join(f"`{choice}`" for choice in choices)
            hint = did_you_mean(value, choices)
        raise Refused(f"option `{option.flag}` takes {wanted}, not `{value}`", hint=hint) from None


def _unknown(name: str, options: Options) -> Refused:
    from volant.cli.run import SWITCHES, VALUES

    known = [*options.by_flag, *options.by_no_flag, "--help"]
    moved = f"`{name}` of `volant run` goes before the file" if name in {*SWITCHES, *VALUES} else ""
    return Refused(
        f"there is no option `{name}`",
        hints=[
            did_you_mean_option(name, known),
            moved or f"it has {', '.join(f'`{one}`' for one in known)}",
        ],
    )


def _right_form(target: Target, options: Options, word: str = "") -> str:
    """A command line that would do."""
    words = [option.sample for option in options.options if option.required]
    if word and options.options:
        option = next((one for one in options.options if one.required), options.options[0])
        words = [option.flag if option.is_switch else f"{option.flag} {word}"]
    if word and not words:
        return "it takes no options"
    return f"`{' '.join(['volant run', command_reference(target), *words])}`"


def command_reference(target: Target) -> str:
    """How to name a target on the command line."""
    name = target.given_name or ("" if target.entrypoint else target.name)
    return f"{target.label}::{name}" if name else target.label


def _bind(
    options: Options, given: dict[str, Any], tail: list[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as Python wants them: what precedes `*args` by position, the rest by name."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for option in options.options:
        parameter = option.parameter
        by_position = parameter.kind is inspect.Parameter.POSITIONAL_ONLY or (
            bool(tail) and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        if by_position:
            args.append(given.get(parameter.name, parameter.default))
        elif parameter.name in given:
            kwargs[parameter.name] = given[parameter.name]
    return (*args, *tail), kwargs
