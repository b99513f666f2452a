"""Starts inputs and ends before they do: `detach` leaves them to go on."""

from __future__ import annotations

import sys
import time

import volant

app = volant.App("leaves-work")


@app.function()
def double_slowly(value: int) -> int:
    time.sleep(0.4)
    return 2 * value


@app.local_entrypoint()
def main() -> None:
    print(double_slowly.experimental_spawn_map([1, 2, 3]).object_id)


if __name__ == "__main__":
    with app.run(detach="detach" in sys.argv):
        print(double_slowly.experimental_spawn_map([1, 2, 3]).object_id)
