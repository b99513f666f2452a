"""What the gateway answers by itself: short, plain text, never kept by a cache."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from volantd.gateway import limits


class Answer(NamedTuple):
    """A response of the gateway's own."""

    status: int
    raw: bytes


def make(status: int, text: str) -> Answer:
    """The response with a status, that says why."""
    body = f"{text}\n".encode("utf-8", "replace")
    more = ""
    if status in (429, 503):
        more = f"Retry-After: {limits.RETRY_AFTER_S}\r\n"
    elif status == 401:
        more = 'WWW-Authenticate: Bearer realm="volant"\r\n'
    phrase = HTTPStatus(status).phrase
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\n{more}\r\n"
    )
    return Answer(status, head.encode("ascii") + body)
