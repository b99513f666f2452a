"""A call of a function while an image is built: what it writes becomes a layer.

Started by a build step with the image's own Python; `main` is given where the call is described.
What the function raises is printed with its traceback, and the exit status is 1.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def main(directory: str) -> None:
    """Make the call that lies in a directory: `call` (a control value) and `payload` (a pickle).

    The call's fields: `root`, `cwd` and `path` (as for `loading.prepare`), `entry` (module and
    file that the app begins with), `module` (None when the payload has the function), `qualname`,
    `is_async`.
    """
    from volant.runner import loading
    from volant.runner.libraries import guises
    from volant.wire import values

    # Behind the packages of the image, which may have a cloudpickle of their own.
    guises.arrange()
    with open(os.path.join(directory, "call"), "rb") as source:
        call: Any = values.decode(source.read())
    loading.settle(call)
    function = None if call["module"] is None else _find(call)
    with open(os.path.join(directory, "payload"), "rb") as source:
        carried, args, kwargs = _loads(source.read())
    returned = (function or carried)(*args, **kwargs)
    if call["is_async"]:
        import asyncio

        asyncio.run(returned)


def _find(call: dict[str, Any]) -> Callable[..., Any]:
    from volant.runner import loading

    entry = call["entry"]
    if call["module"] == entry["module"] and entry["file"] is not None:
        found: Any = loading.load_file(entry["module"], os.path.join(call["root"], entry["file"]))
    else:
        found = loading.import_module(call["module"])
    if call["module"] == entry["module"]:
        sys.modules["__main__"] = found  # the caller may have run this file as a script
    for part in call["qualname"].split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def _loads(payload: bytes) -> Any:
    import pickle

    return pickle.loads(payload)
