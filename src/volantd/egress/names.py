"""Questions for names (DNS) that a sandbox asks: read, and answered.

One question of a message is understood, of class IN; everything else is refused. A name on the
list of a policy has an address that stands for all such names, because who is really meant is
said by the connection itself; the sandbox learns no address that it could mistake or be led to.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.egress.policy import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.egress.policy import Address

#: What names on the list have: of a range for tests of networks, which nobody has.
STAND_IN = ipaddress.IPv4Address("198.18.0.1")
#: Types of records: IPv4, IPv6.
A, AAAA = 1, 28
QUESTION_BYTES_MAX = 512
#: Addresses of one answer.
ANSWERS_MAX = 16
TTL_S = 60
NO_ERROR, SERVER_FAILURE, NO_NAME, REFUSED = 0, 2, 3, 5
_HEADER_BYTES = 12
_IN = 1
_RESPONSE, _RECURSION_WANTED, _RECURSION_THERE = 0x8000, 0x0100, 0x0080
_OPCODE = 0x7800
_POINTER_TO_QUESTION = b"\xc0\x0c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked.

    Attributes:
        raw: the question as it was sent, for the answer.
        name: in plain form; None for what no host is called.
        kind: the type of record.
    """

    number: int
    flags: int
    raw: bytes
    name: str | None
    kind: int


def read(data: bytes) -> Question | None:
    """The question of a message; None for what is none, and is not answered."""
    if not _HEADER_BYTES < len(data) <= QUESTION_BYTES_MAX:
        return None
    number, flags, count = (int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 4))
    if flags & (_RESPONSE | _OPCODE) or count != 1:
        return None
    labels, at = [], _HEADER_BYTES
    while True:
        size = data[at] if at < len(data) else -1
        label = data[at + 1 : at + 1 + size]
        at += 1 + size
        if size == 0:
            break
        if not 0 < size < 64 or len(label) < size:
            return None
        labels.append(label)
    raw = data[_HEADER_BYTES : at + 4]
    if len(data) < at + 4 or int.from_bytes(data[at + 2 : at + 4], "big") != _IN:
        return None
    text = ".".join(label.decode("ascii", "replace") for label in labels if b"." not in label)
    name = plain_name(text) if all(b"." not in label for label in labels) else None
    kind = int.from_bytes(data[at : at + 2], "big")
    return Question(number=number, flags=flags, raw=raw, name=name, kind=kind)


def answer(question: Question, code: int, addresses: Iterable[Address] = ()) -> bytes:
    """An answer: a code, and addresses of the kind that was asked for."""
    version = {A: 4, AAAA: 6}.get(question.kind)
    found = [one.packed for one in addresses if one.version == version][:ANSWERS_MAX]
    flags = _RESPONSE | _RECURSION_THERE | question.flags & _RECURSION_WANTED | code
    numbers = (question.number, flags, 1, len(found), 0, 0)
    records = b"".join(
        _POINTER_TO_QUESTION
        + b"".join(one.to_bytes(2, "big") for one in (question.kind, _IN))
        + TTL_S.to_bytes(4, "big")
        + len(packed).to_bytes(2, "big")
        + packed
        for packed in found
    )
    return b"".join(one.to_bytes(2, "big") for one in numbers) + question.raw + records
