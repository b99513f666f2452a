"""What serves the web is found, and imported in a zygote before its first fork."""

from __future__ import annotations

import os
import sys

from volant.runner import loading

#: Modules that each kind of web function needs, whether the user's code has imported them or not.
_SERVING = (
    "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto", "uvicorn.server",
    "uvicorn.lifespan.off",
)  # fmt: skip
_NEEDED = {
    "asgi": _SERVING, "wsgi": ("a2wsgi", *_SERVING), "server": (), "stateless": (),
    "fastapi": ("fastapi", "fastapi.middleware.cors", *_SERVING),
}  # fmt: skip
#: Modules that another imports when it is first used -> that other.
_LATER = {"anyio._backends._asyncio": "anyio"}


def make_findable() -> None:
    """Look for the lent packages behind all others.

    They are no part of `PYTHONPATH`: programs that user code starts see the image as it is.
    """
    lent = os.path.join(os.path.dirname(loading.SDK_DIR), "lent")
    if lent not in sys.path:
        sys.path.append(lent)


def import_for(kinds: list[str]) -> None:
    """Import what functions of these kinds are served by; what cannot be is left to containers.

    Args:
        kinds: of `asgi`, `wsgi`, `fastapi`, `server`, `stateless`.
    """
    make_findable()
    names = ["volant.runner.web.serving", *(name for kind in kinds for name in _NEEDED[kind])]
    names += [name for name, user in _LATER.items() if user in sys.modules]
    for name in names:
        _try(name)
    if "fastapi" in kinds or ("asgi" in kinds and "fastapi" in sys.modules):
        _rehearse()


def _try(name: str) -> None:
    try:
        __import__(name)
    except Exception:  # noqa: BLE001  # packages of the image may do anything: there it is told
        return


def _rehearse() -> None:
    """Make a route of FastAPI, which imports further modules when it makes the first."""
    from volant.runner.web import apps

    def rehearse(number: int = 1) -> int:
        return number

    try:
        apps.app_of(rehearse, {"kind": "fastapi", "docs": False, "method": "GET"}, 1)
    except Exception:  # noqa: BLE001  # as above
        return
