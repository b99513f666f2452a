"""Entry points that fail, here and remotely."""

from __future__ import annotations

import sys
import time

import volant

app = volant.App("failing-program")


@app.local_entrypoint()
def fails_here() -> None:
    print("printed before")
    raise KeyError("here")


@app.local_entrypoint()
def fails_there() -> None:
    fail.remote("there")


@app.local_entrypoint()
def leaves(code: int) -> None:
    sys.exit(code)


@app.local_entrypoint()
def waits() -> None:
    print("waiting", flush=True)
    wait.remote(60.0)


@app.local_entrypoint()
def prints() -> None:
    say.remote("from the container")
    print("from here")


@app.function()
def fail(text: str) -> None:
    raise KeyError(text)


@app.function()
def wait(duration_s: float) -> None:
    time.sleep(duration_s)


@app.function()
def say(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


if __name__ == "__main__":
    with volant.enable_output(), app.run():
        say.remote("printed in a process")
        fail.remote("there")
