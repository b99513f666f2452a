"""An app that tells where it is, and counts in what is there."""

from __future__ import annotations

import os
from pathlib import Path

import volant

app = volant.App("parted")
count = volant.Dict.from_name("parted-count", create_if_missing=True)
files = volant.Volume.from_name("parted-files", create_if_missing=True)


@app.function(secrets=[volant.Secret.from_name("parted")], volumes={"/files": files})
def where() -> list[object]:
    """The environment by name, the secret in it, how often this was asked there, and files."""
    count["asked"] = count.get("asked", 0) + 1
    told = [os.environ["VOLANT_ENVIRONMENT"], os.environ["WORD"], count["asked"]]
    seen = sorted(os.listdir("/files"))
    Path("/files", volant.Environment.from_context().name).touch()
    files.commit()
    return [*told, seen]


@app.function()
@volant.fastapi_endpoint()
def page() -> str:
    """Answers to the web."""
    return os.environ["VOLANT_ENVIRONMENT"]
