"""A FastAPI app that is deployed in versions."""

from __future__ import annotations

import os

from fastapi import FastAPI

import volant

app = volant.App("site")
#: In a container, what the program that deployed it had.
VERSION = os.environ.get("SITE_VERSION", "0")
WINDOW_S = float(os.environ.get("SITE_WINDOW_S", "2"))
api = FastAPI()


@api.get("/")
async def version() -> dict[str, str]:
    """Which version this is."""
    return {"version": VERSION}


@app.function(env={"SITE_VERSION": VERSION}, scaledown_window=WINDOW_S)
@volant.concurrent(max_inputs=20)
@volant.asgi_app()
def site() -> FastAPI:
    """One route."""
    return api
