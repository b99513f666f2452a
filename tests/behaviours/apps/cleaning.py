"""A function that takes a moment to clean up after itself."""

from __future__ import annotations

import time

import volant

app = volant.App("cleaning")


@app.function()
def work() -> None:
    try:
        print("begun", flush=True)
        time.sleep(60.0)
    finally:
        time.sleep(0.2)
        print("cleaned up", flush=True)


if __name__ == "__main__":
    with app.run():
        print("running", flush=True)
        work.remote()
