"""Functions that have secrets, and tell of them by their hashes alone."""

from __future__ import annotations

import hashlib
import os

import volant

app = volant.App("secretive")


def hashed(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:8]


TOKEN = volant.Secret.from_local_environ(["TOKEN"])


@app.function(secrets=[TOKEN], env={"PLAIN": "plain"})
def token(name: str = "TOKEN") -> str:
    return hashed(os.environ[name])
