"""What the command is called by who types it: `volant`, or the name that a guise has for it.

Texts of the command say `volant`. Under another name they are shown with that one, where they name
the command (`volant run`) or a name of the package (`volant.App`).
"""

from __future__ import annotations

OWN = "volant"
_called = OWN


def call(name: str) -> None:
    """Show texts under a name from now on."""
    global _called
    _called = name


def called() -> str:
    """The name under which texts are shown."""
    return _called


def as_typed(text: str) -> str:
    """A text with the name that was typed; paths and parts of longer words stay as they are."""
    if _called == OWN or OWN not in text:
        return text
    import re

    return re.sub(rf"(?<![\w./-]){OWN}(?= [a-z-]|\.[A-Za-z_])", _called, text)


def path_of(command_path: str) -> str:
    """What the command itself calls a path of it: `volant app` for `modal app`."""
    name, space, rest = command_path.partition(" ")
    return f"{OWN if name == _called else name}{space}{rest}"
