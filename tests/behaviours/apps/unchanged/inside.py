#!/usr/bin/env python
"""Containers that use the service themselves, as a program for Modal does; it also runs itself."""

from __future__ import annotations

from typing import Any

import modal

app = modal.App("inside")
config = {"timeout": 60, "retries": 0}


@app.function(**config)
def add(x: int, y: int = 1) -> int:
    return x + y


@app.function()
def count(stop: int):
    yield from range(stop)


@app.function()
@modal.fastapi_endpoint()
def mapped():
    from fastapi.responses import StreamingResponse

    return StreamingResponse((str(one) for one in add.map(range(3))), media_type="text/plain")


@app.function()
@modal.concurrent(max_inputs=4)
@modal.asgi_app()
def pages():
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    api = FastAPI()

    @api.get("/counted")
    def counted():
        return StreamingResponse(map(str, count.remote_gen(4)), media_type="text/plain")

    return api


@app.function()
def use_it() -> list[Any]:
    import urllib.request

    box = modal.Sandbox.create("echo", "from a sandbox", app=app)
    with modal.Dict.ephemeral() as entries, modal.Queue.ephemeral() as queue:
        entries.update(queue=queue, function=add)
        queue.put(entries)
        nested = queue.get()["function"].remote(1)
    there = mapped.get_web_url()
    return [
        add.spawn(2).get(), list(add.map([1, 2], [3, 4])), list(count.remote_gen(2)), nested,
        box.stdout.read(), urllib.request.urlopen(there, timeout=60).read(),
        urllib.request.urlopen(pages.get_web_url() + "/counted", timeout=60).read(),
    ]  # fmt: skip


@app.function()
def give_back(*handles: Any) -> tuple[Any, ...]:
    return handles


@app.local_entrypoint()
def main() -> None:
    for one in use_it.remote():
        print(one)
    with modal.Volume.ephemeral() as volume, modal.Dict.ephemeral() as entries:
        entries["volume"] = volume
        back = give_back.remote(add, volume, entries)
        print(*(type(one) in (modal.Function, modal.Volume, modal.Dict) for one in back))
        print(back[0].remote(1), back[1].listdir("/"), type(back[2]["volume"]) is modal.Volume)
    print(app.registered_functions["add"].local(4), app.registered_web_endpoints)


if __name__ == "__main__":
    with app.run():
        print(add.remote(1))
