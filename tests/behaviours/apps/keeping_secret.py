"""A deployed function that has a stored secret."""

from __future__ import annotations

import os

import volant

app = volant.App("keeping-secret")


@app.function(secrets=[volant.Secret.from_name("kept")])
def word() -> str:
    return os.environ["WORD"]
