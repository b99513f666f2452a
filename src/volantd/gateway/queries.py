"""Parameters of classes in the query of a request: found by their names, as bytes.

Whoever is behind sees the query as it was sent, so other names in it are the app's own. What a
value means the hub knows.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from volantd.gateway.heads import RefusedError


def parameters_in(target: bytes, names: frozenset[bytes]) -> dict[str, bytes]:
    """The values that a target's query has for some names, in the order of these.

    Raises:
        RefusedError: when one is there twice.
    """
    query = target.partition(b"?")[2]
    found: dict[str, bytes] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        name = _plain(name)
        if name in names:
            known = name.decode()
            if known in found:
                raise RefusedError(400, f"the parameter `{known}` is given twice")
            found[known] = _plain(value)
    return dict(sorted(found.items()))


def _plain(text: bytes) -> bytes:
    """What is meant by a text in a query."""
    return unquote_to_bytes(text.replace(b"+", b" "))
