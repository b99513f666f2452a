"""The errors of this package, and how they show what somebody else has written."""

from __future__ import annotations

from volant.errors import Error

_SHOWN_CHARS_MAX = 200


class OciError(Error):
    """An image cannot be had, or is not one that can be used."""


class TransferError(OciError):
    """A registry could not be reached, or stopped in the middle, as often as it was tried."""

    retryable = True


def shown(value: str | bytes) -> str:
    """A name of foreign making in quotes: one line, of bounded length, nothing but ASCII."""
    if isinstance(value, bytes):
        value = value[: 2 * _SHOWN_CHARS_MAX].decode("utf-8", "backslashreplace")
    text = ascii(value[: 2 * _SHOWN_CHARS_MAX])
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."
