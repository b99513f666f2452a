"""An image with a package called `modal` of its own, as those have that install it."""

from __future__ import annotations

import os
import subprocess
import sys

import modal

app = modal.App("imaged")


def prepare(path: str) -> None:
    with open(path, "w") as file:
        file.write(modal.__name__ + str(modal.is_local()))


image = (
    modal.Image.from_registry(os.environ.get("BASE", "base"))
    .run_commands(
        "mkdir -p /opt",
        "mkdir -p $(python3 -c 'import site; print(site.getsitepackages()[0])')/modal",
        "echo 'raise SystemExit(\"not this one\")' > "
        "$(python3 -c 'import site; print(site.getsitepackages()[0])')/modal/__init__.py",
    )
    .run_function(prepare, args=("/opt/prepared",))
    .env({"COLOUR": "blue"})
)


@app.function(image=image)
def look() -> list[str]:
    child = [sys.executable, "-c", "import modal; print(modal.App.__module__)"]
    with open("/opt/prepared") as file:
        prepared = file.read()
    found = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
    return [os.environ["COLOUR"], os.environ["MODAL_IMAGE_ID"][:3], prepared, found]


@app.local_entrypoint()
def main():
    print(look.remote())
