"""Functions that have secrets."""

from __future__ import annotations

import os
from typing import Any

import volant

app = volant.App("secretive")


TOKEN = volant.Secret.from_local_environ(["TOKEN"])


STORED = volant.Secret.from_name("stored-one", required_keys=["FIRST"])
BEFORE = volant.Secret.from_dict({"FIRST": "before it", "EARLIER": "before it"})
BEHIND = volant.Secret.from_dict({"SECOND": "behind it"})


@app.function(secrets=[BEFORE, STORED, BEHIND])
def stored() -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in ("FIRST", "SECOND", "THIRD", "EARLIER")}


IMPORTED = {name: os.environ.get(name, "") for name in ("FIRST", "TOKEN")}


@app.function(secrets=[STORED, TOKEN])
def imported() -> dict[str, str]:
    return IMPORTED


@app.function(secrets=[STORED, TOKEN])
def show() -> None:
    print(f"token is {os.environ['TOKEN']}, first is {os.environ['FIRST']}")
    print("in parts:", end=" ", flush=True)
    os.write(1, os.environ["TOKEN"][:9].encode())
    os.write(1, os.environ["TOKEN"][9:].encode() + b"\n")


@app.function(secrets=[volant.Secret.from_name("not-there")])
def without() -> None: ...


@app.function(secrets=[volant.Secret.from_name("stored-one", required_keys=["FIRST", "LACKING"])])
def lacking() -> None: ...


@app.function()
def hostile(name: str) -> list[str]:
    """Tries what a container may not."""
    from volant.channel import current

    secret = volant.Secret.from_name(name)
    nested = volant.App("thief")

    @nested.function(secrets=[secret], serialized=True)
    def steal() -> dict[str, str]:
        return dict(os.environ)

    deployed: Any = volant.Function.from_name("keeping-secret", "word")

    def run_nested() -> object:
        with nested.run():
            return steal.remote()

    tries = [
        run_nested,
        lambda: hostile.with_options(secrets=[secret]).remote(name),
        lambda: deployed.with_options(secrets=[secret]).remote(),
        secret.info,
        lambda: secret.update({"A": "1"}),
        lambda: volant.Secret.objects.create("mine", {"A": "1"}),
        volant.Secret.objects.list,
        lambda: volant.Secret.objects.delete(name),
        lambda: current.channel().request("secret_rotate_key"),
    ]
    told = []
    for attempt in tries:
        try:
            told.append(repr(attempt()))
        except volant.errors.Error as error:
            told.append(type(error).__name__)
    return told
