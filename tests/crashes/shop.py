"""What is deployed for the load."""

from __future__ import annotations

import os

import volant

app = volant.App("crashes")
volume = volant.Volume.from_name("crashes", create_if_missing=True)


@app.function(max_containers=4)
def work(number: int, large: bytes = b"") -> tuple[int, str, bytes]:
    """Takes a moment now and then; its result tells one run from another."""
    if number % 10 == 0:
        sum(range(1_000_000))
    return number, os.urandom(8).hex(), large


@app.function(max_containers=2, volumes={"/data": volume})
def write(number: int, times: int) -> None:
    """Commit a file of its own."""
    with open(f"/data/inside-{number}", "w", encoding="ascii") as file:
        file.write(str(number) * times)
    volume.commit()


@app.function(secrets=[volant.Secret.from_name("crashes")], single_use_containers=True)
def tell() -> int:
    """What the secret is."""
    return int(os.environ["NUMBER"])
