"""A function that has a secret, and tells of it by its hash alone."""

from __future__ import annotations

import hashlib
import os

import volant

app = volant.App("tokened")


@app.function(secrets=[volant.Secret.from_local_environ(["TOKEN"])], env={"PLAIN": "plain"})
def token(name: str = "TOKEN") -> str:
    return hashlib.sha256(os.environ[name].encode()).hexdigest()[:8]
