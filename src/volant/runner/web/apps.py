"""ASGI apps of what users write: one itself, one of WSGI, or a function as a route of FastAPI."""

from __future__ import annotations

from volant.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.runner.web.lifespan import App

#: Threads that frameworks on anyio, FastAPI among them, have for plain functions without our doing.
ANYIO_THREADS = 40


def app_of(raw: Callable[..., Any], web: dict[str, Any], max_inputs: int) -> App:
    """The ASGI app of a web function.

    Args:
        raw: the function, or a method bound to its instance.
        web: how it answers, of kind `asgi`, `wsgi` or `fastapi`.
        max_inputs: requests that come at the same time.

    Raises:
        InvalidError: when what the function returns is no app, or FastAPI is not there.
        BaseException: what the function raises.
    """
    if web["kind"] == "fastapi":
        return _route(raw, web)
    name = getattr(raw, "__name__", "the function")
    app: Any = raw()
    if not callable(app):
        raise InvalidError(
            f"`{name}` returned {type(app).__name__}, which is no app", hint="return the app itself"
        )
    if web["kind"] == "wsgi":
        from a2wsgi import WSGIMiddleware

        app = WSGIMiddleware(app, workers=max_inputs)
    made: App = app
    return made


def _route(raw: Callable[..., Any], web: dict[str, Any]) -> App:
    name = getattr(raw, "__name__", "the function")
    try:
        from fastapi import FastAPI
        from fastapi.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise InvalidError(
            f"`{name}` is a FastAPI endpoint, and its image has no fastapi: {error}",
            hint='install it: image.uv_pip_install("fastapi")',
        ) from error
    shown = {"docs_url": "/docs", "redoc_url": "/redoc", "openapi_url": "/openapi.json"}
    app = FastAPI(title=name, **(shown if web["docs"] else dict.fromkeys(shown)))
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"],
        allow_headers=["*"],
    )  # fmt: skip
    app.add_api_route("/", raw, methods=[web["method"]])
    made: Any = app
    return made  # type: ignore[no-any-return]  # an app by its form


def allow_threads(count: int) -> None:
    """Let plain endpoints run in so many threads at once, where anyio has them; in the loop."""
    if count > ANYIO_THREADS:
        import sys

        to_thread = sys.modules.get("anyio.to_thread")
        if to_thread is not None:
            to_thread.current_default_thread_limiter().total_tokens = count
