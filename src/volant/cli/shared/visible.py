"""What programs have printed or named, as a terminal may be given it.

A terminal obeys what it is sent: sequences of characters retitle it, answer questions into its
input, or hide what came before. Colours and the erasure of a line stay, all else is made visible.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HARMLESS = r"\x1b\[[0-9;:]*m|\x1b\[[0-2]?K"
_OF_PROGRAMS = re.compile(rf"({_HARMLESS})|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: What is added to a control character to write it behind a `^`, as terminals do.
_CARET = 0x40


def visible(text: str) -> str:
    """A text without any control character, as part of a line of ours."""
    return _CONTROL.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"^{chr(code ^ _CARET)}" if code <= 0x7F else f"\\x{code:02x}"


class Printed:
    """Makes what several programs print fit for one terminal; parts of characters wait."""

    def __init__(self) -> None:
        self._decoders: dict[tuple[str, str], codecs.IncrementalDecoder] = {}

    def of(self, entry: Mapping[str, Any]) -> str:
        """The text of one entry of a log; an escape sequence that is not whole is visible."""
        pipe = str(entry.get("container_id")), entry["stream"]
        decoder = self._decoders.get(pipe)
        if decoder is None:
            decoder = self._decoders[pipe] = codecs.getincrementaldecoder("utf-8")("replace")
        return _OF_PROGRAMS.sub(
            lambda found: found[0] if found[1] else _written(found), decoder.decode(entry["data"])
        )
