"""What people are told of a step: what it does and prints, without what nobody may read in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What stands in place of a hidden text.
HIDDEN = "***"
#: Characters of a value of a secret from which on it is hidden: others are words like any.
HIDDEN_CHARS_MIN = 8
#: Name and password in an address.
_ACCOUNT = re.compile(r"(?<=://)[^/@\s]+(?=@)")
#: Characters of what a step does, in one line.
TEXT_CHARS_MAX = 200
#: Fields of steps that say most of what they do, the first that is there is shown.
_TELLING = (
    "reference", "commands", "packages", "variables", "path", "words", "python", "requirements",
    "name",
)  # fmt: skip


def redacted(text: str, hidden: Sequence[str]) -> str:
    """A text without any of the hidden ones."""
    for one in sorted(hidden, key=len, reverse=True):
        text = text.replace(one, HIDDEN)
    return text


def without_accounts(value: Any) -> Any:
    """A plain value without the names and passwords that addresses in it have."""
    if isinstance(value, str):
        return _ACCOUNT.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {without_accounts(name): without_accounts(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_accounts(one) for one in value]
    return value


def text_of(step: dict[str, Any]) -> str:
    """What a described step does, in one line."""
    step = without_accounts(step)
    words: Any = next((step[name] for name in _TELLING if step.get(name)), ())
    if words:
        words = " && ".join(map(str, words)) if isinstance(words, (list, tuple, dict)) else words
    elif step.get("files"):
        paths = [str(file[0]) for file in step["files"]]
        words = paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return " ".join(f"{step['kind']} {words or ''}"[: 2 * TEXT_CHARS_MAX].split())[:TEXT_CHARS_MAX]


class Redacted:
    """Passes on what it is told, piece by piece, but for hidden texts.

    Args:
        say: hears the rest.
        hidden: texts, none of them empty.
    """

    def __init__(self, say: Callable[[bytes], None], hidden: Sequence[str]) -> None:
        self._say = say
        self._hidden = [one.encode() for one in sorted(hidden, key=len, reverse=True)]
        self._held = b""

    def __call__(self, data: bytes) -> None:
        """Take the next piece; its end is held back while a hidden text may begin there."""
        text = self._held + data
        for one in self._hidden:
            text = text.replace(one, HIDDEN.encode())
        held = max((_begun(text, one) for one in self._hidden), default=0)
        self._held = text[len(text) - held :]
        if len(text) > held:
            self._say(text[: len(text) - held])

    def end(self) -> None:
        """Pass on what was held back."""
        if self._held:
            self._say(self._held)
            self._held = b""


def _begun(text: bytes, hidden: bytes) -> int:
    """How many bytes at the end of a text are the beginning of a hidden one."""
    at = max(0, len(text) - len(hidden) + 1)
    while (at := text.find(hidden[:1], at)) >= 0:
        if hidden.startswith(text[at:]):
            return len(text) - at
        at += 1
    return 0
