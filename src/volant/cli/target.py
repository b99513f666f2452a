"""What `volant run REF` runs: loads the file or module of a reference and picks from its apps.

    file.py          the single local entrypoint, else the single function
    file.py::name    that function or entrypoint; also file.py::app.name, file.py::Class.method
    -m pkg.mod       the same, imported by name; `-` is a script from standard input

A file is loaded under its stem as module name, which is also its name in a container, so that
pickles of its classes mean the same on both sides.
"""

from __future__ import annotations

import os
import sys

from volant.runner.loading import import_module, load_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from volant.cli.methods import MethodCall
    from volant.sdk.app import App, LocalEntrypoint
    from volant.sdk.function import Function

#: Begins the module name of a script that is called like another module.
_RENAMED = "volant_script_"
#: Modules of the standard library that do something when they are imported.
_TALKATIVE = ("antigravity", "this")
#: Bits of code.co_flags.
_KEYWORDS = 0x08


class Target:
    """What to run: a local entrypoint, a function of an app, or a method of one of its classes."""

    def __init__(
        self, app: App, label: str, entrypoint: LocalEntrypoint | None,
        function: Function[..., Any, Any] | MethodCall | None,
    ) -> None:  # fmt: skip
        self.app = app
        #: the reference without `::name`, as the user wrote it
        self.label = label
        self.entrypoint = entrypoint
        self.function = function
        #: what the user wrote behind `::`, or ""
        self.given_name = ""

    @property
    def name(self) -> str:
        """Its name in the app."""
        found = self.entrypoint or self.function
        assert found is not None
        return found.name

    @property
    def raw(self) -> Callable[..., Any]:
        """The plain Python function."""
        if self.entrypoint is not None:
            return self.entrypoint.raw
        assert self.function is not None
        raw: Callable[..., Any] = self.function._raw
        return raw

    @property
    def app_function(self) -> Function[..., Any, Any] | None:
        """The function itself, or the class of a method."""
        of_class: Function[..., Any, Any] | None = getattr(self.function, "of_class", None)
        return of_class or self.function  # type: ignore[return-value]  # else it is a function

    @property
    def needs_no_arguments(self) -> bool:
        """True when it can be called with nothing; found without the price of `inspect`."""
        code = getattr(self.raw, "__code__", None)
        if code is None or code.co_flags & _KEYWORDS or hasattr(self.raw, "__wrapped__"):
            return False
        defaults_count = len(getattr(self.raw, "__defaults__", None) or ())
        keyword_defaults_count = len(getattr(self.raw, "__kwdefaults__", None) or ())
        return bool(
            code.co_argcount == defaults_count and code.co_kwonlyargcount == keyword_defaults_count
        )


def find(reference: str, *, as_module: bool) -> Target:
    """Load what a reference names and pick the target.

    Raises:
        Refused: when nothing can be loaded or nothing, or too much, fits.
        BaseException: whatever loading the user's code raises.
    """
    label, name, module = _load(reference, as_module=as_module)
    apps = _apps_of(module)
    only = None if name else only_one(apps, label)
    if only is not None:
        return only
    from volant.cli.candidates import pick

    chosen = pick(module, apps, label, name)
    chosen.given_name = name
    return chosen


def _load(reference: str, *, as_module: bool) -> tuple[str, str, ModuleType]:
    """The module of a reference; before it the reference without a name, and that name."""
    label, _, name = reference.partition("::")
    if as_module:
        return f"-m {label}", name, _load_module(label)
    if label == "-":
        from volant.cli.stdin_script import load_stdin

        return label, name, load_stdin()
    return label, name, _load_path(label)


def find_app(reference: str, *, as_module: bool) -> App:
    """Load what a reference names and pick an app: its only one, `app`, or the one named.

    Raises:
        Refused: when nothing can be loaded or nothing, or too much, fits.
        BaseException: whatever loading the user's code raises.
    """
    label, name, module = _load(reference, as_module=as_module)
    from volant.cli.candidates import pick_app

    return pick_app(module, _apps_of(module), label, name)


def _load_module(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        from volant.cli.failures import Refused

        raise Refused(f"`{name}` is a file, `-m` takes a module", hint=f"`volant run {name}`")
    sys.path.insert(0, os.getcwd())
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # an import inside the user's code
        from volant.cli.candidates import no_such_module

        raise no_such_module(name, error.name) from None


def _load_path(path: str) -> ModuleType:
    if not path.endswith(".py") or not os.path.isfile(path):
        from volant.cli.candidates import no_such_file

        raise no_such_file(path)
    path = os.path.abspath(path)
    name = module_name_of(path)
    if name.startswith(_RENAMED):
        _import_namesake(name[len(_RENAMED) :])
    # As Python does: a link is followed to the modules beside its target.
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    return load_file(name, path)


def _import_namesake(name: str) -> None:
    """Import what a script is called like, before the script's directory hides it."""
    if name not in _TALKATIVE:
        try:
            import_module(name)
        except ImportError:
            pass  # not on this platform


def module_name_of(path: str) -> str:
    """The name under which a script is loaded: its stem, unless that means another module."""
    stem = os.path.basename(path)[:-3].replace(".", "_")
    if stem in sys.modules or stem in sys.stdlib_module_names:
        return _RENAMED + stem
    return stem


def _apps_of(module: ModuleType) -> list[App]:
    from volant.sdk.app import App

    found = [value for value in vars(module).values() if isinstance(value, App)]
    return list(dict.fromkeys(found))


def only_one(apps: list[App], label: str) -> Target | None:
    """The single entrypoint, else the single function, of these apps."""
    entrypoints = [(app, one) for app in apps for one in app._entrypoints.values()]
    if len(entrypoints) == 1:
        [(app, entrypoint)] = entrypoints
        return Target(app, label, entrypoint, None)
    functions = {id(one): (app, one) for app in apps for one in app._functions.values()}
    if not entrypoints and len(functions) == 1:
        [(app, function)] = functions.values()
        names = function._registered_names()
        if names == [function.name]:
            return Target(app, label, None, function)
        if len(names) == 1:  # a class with one method
            from volant.cli.methods import method_of

            found = method_of([app], names[0])
            return found and Target(app, label, None, found[1])
    return None
