"""Picks a target by its name, and says what there is when nothing or too much fits."""

from __future__ import annotations

import os

from volant.cli.failures import Refused, ask_whether, closest, did_you_mean
from volant.cli.target import Target, only_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from volant.sdk.app import App

#: Candidates that a message lists.
SHOWN_MAX = 20


def pick(module: ModuleType, apps: list[App], label: str, name: str) -> Target:
    """The target that `name` means in a module.

    Args:
        name: `function`, `app.function`, `app`, `Class.method`, or "" when it has to be guessed.

    Raises:
        Refused: with the candidates, and exit code 1.
    """
    _check_some(apps, label)
    found = _named(module, apps, label, name) if name else only_one(apps, label)
    if found is not None:
        return found
    known = _names(module, apps)
    if not known:
        raise Refused(
            f"`{label}` has no function to run",
            hint="decorate one with `@app.function()` or `@app.local_entrypoint()`",
            exit_code=1,
        )
    if name:
        guess = _guess(name, known)
        message = f"there is no function `{name}` in `{label}`"
    else:
        guess = ""
        message = f"`{label}` has several functions and no single local entrypoint"
    forms = [f"volant run {label}::{one}" for one in known]
    listed = "\n    ".join(["name one of them:", *forms[:SHOWN_MAX]])
    refused = Refused(message, hints=[guess or listed], exit_code=1)
    if not name:
        refused.forms = forms
    raise refused


def _check_some(apps: list[App], label: str) -> None:
    if not apps:
        raise Refused(
            f"`{label}` has no app",
            hint='a program has a `volant.App` at its top level: `app = volant.App("name")`',
            exit_code=1,
        )


def pick_app(module: ModuleType, apps: list[App], label: str, name: str) -> App:
    """The app that `name` means in a module: a variable's, or an app's own name.

    Raises:
        Refused: with the candidates, and exit code 1.
    """
    _check_some(apps, label)
    variables = {one: value for one, value in vars(module).items() if value in apps}
    named: dict[str, App] = {**{str(app.name): app for app in apps if app.name}, **variables}
    chosen = name or ("app" if "app" in variables else "")
    if chosen in named:
        return named[chosen]
    if not name and len(apps) == 1:
        return apps[0]
    listed = ", ".join(f"{label}::{one}" for one in variables)
    if name:
        message = f"there is no app `{name}` in `{label}`"
        raise Refused(message, hint=did_you_mean(name, named) or f"there is {listed}", exit_code=1)
    raise Refused(f"`{label}` has several apps", hint=f"name one of them: {listed}", exit_code=1)


def _guess(name: str, known: list[str]) -> str:
    """A hint that names what is close to `name`, with or without its app."""
    by_name = {one.rpartition(".")[2]: one for one in known}
    methods = [one for one in known if f".{one}".rpartition(".")[0].endswith(f".{name}")]
    near = methods or closest(name, dict.fromkeys([*known, *by_name]))
    return ask_whether([by_name.get(one, one) for one in near])


def _named(module: ModuleType, apps: list[App], label: str, name: str) -> Target | None:
    from volant.sdk.app import App, LocalEntrypoint
    from volant.sdk.function import Function

    head, _, tail = name.partition(".")
    value = getattr(module, head, None)
    if isinstance(value, App):
        if not tail:
            return pick(module, [value], label, "")
        apps, name = [value], tail
    elif isinstance(value, LocalEntrypoint) and not tail:
        return Target(value.app, label, value, None)
    elif isinstance(value, Function) and not tail:
        return Target(_app_with(value, apps), label, None, value)
    for app in apps:
        if name in app._entrypoints:
            return Target(app, label, app._entrypoints[name], None)
        function = app._functions.get(name)
        if function is not None and name in function._registered_names():
            return Target(app, label, None, function)
    if "." in name:
        from volant.cli.methods import method_of

        found = method_of(apps, name)
        return None if found is None else Target(found[0], label, None, found[1])
    return None


def _app_with(function: object, apps: list[App]) -> App:
    for app in apps:
        if any(one is function for one in app._functions.values()):
            return app
    raise Refused(
        "the function's app is not in its module",
        hint="import the app beside the function, or include it in one of the module's apps",
        exit_code=1,
    )


def _names(module: ModuleType, apps: list[App]) -> list[str]:
    """How each entrypoint and function can be named, entrypoints first."""
    variables = {id(value): key for key, value in vars(module).items()}
    names = []
    for kind in ("_entrypoints", "registered_functions"):
        for app in apps:
            prefix = f"{variables[id(app)]}." if len(apps) > 1 else ""
            names += [prefix + name for name in getattr(app, kind)]
    return list(dict.fromkeys(names))


def no_such_file(path: str) -> Refused:
    """The error for a reference that is no file, which may well be a module."""
    file, colon, name = path.rpartition(":")
    if colon and name and file.endswith(".py") and os.path.isfile(file):
        return Refused(
            f"there is no file `{path}`",
            hint=f"a function is named behind two colons: `volant run {file}::{name}`",
        )
    module = path.rstrip(os.sep) or path
    as_file = module.replace(".", os.sep) + ".py"
    as_package = os.path.join(module.replace(".", os.sep), "__init__.py")
    is_there = os.path.isfile(as_file) or os.path.isfile(as_package)
    if (is_there and not os.path.isabs(path)) or _looks_like_module(path):
        module = module.replace(os.sep, ".")
        return Refused(
            f"`{path}` is a module path, not a file",
            hint=f"`volant run -m {module}` runs a module",
        )
    if os.path.isdir(path):
        return Refused(f"`{path}` is a directory", hint="name a Python file in it")
    if os.path.isfile(path):
        return Refused(f"`{path}` is not a Python source file", hint="its name must end in `.py`")
    directory = os.path.dirname(path)
    try:
        near = [name for name in os.listdir(directory or ".") if name.endswith(".py")]
    except OSError:
        return Refused(f"there is no directory `{directory}`")
    return Refused(
        f"there is no file `{path}`",
        hint=did_you_mean(path, [os.path.join(directory, name) for name in near]),
    )


def _looks_like_module(path: str) -> bool:
    return (
        "." in path
        and not path.endswith(".py")
        and not os.path.exists(path)
        and all(part.isidentifier() for part in path.split("."))
    )


def no_such_module(name: str, missing: str) -> Refused:
    """The error for `-m NAME` when `missing`, a part of it, is not found."""
    path = name.replace(".", os.sep) + ".py"
    return Refused(
        f"there is no module `{missing}`",
        hint=f"it is looked for in the working directory first, as in `{path}`",
    )
