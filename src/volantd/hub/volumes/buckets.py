"""Buckets that functions are described with: checked, whoever describes them.

Their words end in the configuration of a program, so nothing passes that could mean more there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import PermissionDeniedError
from volantd.fields import mapping, switch, text
from volantd.hub.secrets import layers

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Longest name of a bucket, and longest of the other words.
NAME_CHARS_MAX = 255
WORD_CHARS_MAX = 2000
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


def check(bucket: dict[str, Any]) -> None:
    """Make sure that a bucket is what the SDK makes of one.

    Raises:
        ValueError, KeyError: for what no SDK sends; values of secrets are not told.
    """
    name, url, prefix = (text(bucket, one) for one in ("name", "endpoint_url", "key_prefix"))
    if not 0 < len(name) <= NAME_CHARS_MAX or not _NAME_CHARS.issuperset(name) or name[0] in ".-":
        raise ValueError(f"no bucket can be called {name[:NAME_CHARS_MAX]!r}")
    host = url.partition("://")[2]
    is_plain = host and all("!" <= letter <= "~" and letter not in "/?#@%\"'`" for letter in host)
    is_web = url.startswith(("http://", "https://"))
    if url and not (is_plain and is_web and len(url) <= WORD_CHARS_MAX):
        raise ValueError(f"no store can be at {url[:WORD_CHARS_MAX]!r}")
    parts = prefix[:-1].split("/")
    is_odd = any(part in ("", ".", "..") for part in parts) or not prefix.isprintable()
    if prefix and (is_odd or not prefix.endswith("/") or len(prefix) > WORD_CHARS_MAX):
        raise ValueError(f"no prefix of keys can be {prefix[:WORD_CHARS_MAX]!r}")
    for one in ("is_anonymous", "requester_pays", "force_path_style"):
        switch(bucket, one)
    for variable in mapping(bucket, "secrets"):
        text(bucket["secrets"], variable)
    layers.check(bucket)


def confine(options: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Keep a container without a network from reaching one through the mounts of what it calls.

    Raises:
        PermissionDeniedError: for a bucket that its own function has not.
    """
    if not own["block_network"]:
        return
    allowed = [one["bucket"] for one in own["volumes"] if "bucket" in one]
    for one in options["volumes"]:
        if "bucket" in one and one["bucket"] not in allowed:
            raise PermissionDeniedError(
                f"a container without a network asks for the bucket `{one['bucket']['name']}`",
                hint="give its own function the bucket, or a network",
            )
