"""An app in an image of ten steps.

Run by `volant run`, it prints CLOCK_MONOTONIC at the moment at which its image is known to be
there and the app runs.
"""

from __future__ import annotations

import time

import volant

STEPS = 9

image = volant.Image.debian_slim()
for _number in range(STEPS):
    image = image.run_commands(f"echo {_number} > /step-{_number}")
app = volant.App("imaged", image=image)


@app.function()
def last_step() -> str:
    """What the last step wrote."""
    with open(f"/step-{STEPS - 1}") as file:
        return file.read()


@app.local_entrypoint()
def main() -> None:
    print(time.monotonic_ns())
    assert last_step.remote() == f"{STEPS - 1}\n"
