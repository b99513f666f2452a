"""What functions and steps are given as secrets: values, and references to what is stored.

    stored: [{"values": {...}}, {"name": "db", "environment": None, "keys": [...]}], secrets: {...}

Layers apply in their order, and those values last that a program has without a reference behind
them, so that later secrets win. References are looked up when something is about to use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import PermissionDeniedError
from volantd.fields import mapping, optional, sequence, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Layer = dict[str, Any]

#: Layers of one function or step, and names that one reference may require.
LAYERS_MAX = 200
KEYS_MAX = 1000
#: Characters of a name in a message that are looked at.
NAME_CHARS_MAX = 64


def check(options: Mapping[str, Any]) -> None:
    """Make sure that `stored` of some options, if it is there, is a list of layers.

    Raises:
        ValueError, KeyError: for what no SDK sends; values are not told.
    """
    layers = sequence({"stored": [], **options}, "stored")
    if len(layers) > LAYERS_MAX:
        raise ValueError(f"{len(layers)} layers of secrets, at most {LAYERS_MAX}")
    for layer in layers:
        if not isinstance(layer, dict):
            raise ValueError("a layer of secrets is no map")
        if "values" in layer:
            for name in mapping(layer, "values"):
                if not isinstance(layer["values"][name], str):
                    raise ValueError("a value of a secret is no text")
            continue
        if not 0 < len(text(layer, "name")) <= NAME_CHARS_MAX:
            raise ValueError("a secret has no name")
        optional(text, layer, "environment")
        checked_keys(layer)


def checked_keys(fields: dict[str, Any]) -> list[str]:
    """The names that a secret has to have, of what refers to one.

    Raises:
        ValueError, KeyError: for what no SDK sends.
    """
    keys = sequence(fields, "keys")
    if len(keys) > KEYS_MAX or not all(isinstance(key, str) for key in keys):
        raise ValueError("what a secret has to have is no list of names")
    return keys


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[list[Layer], Any]:
    """The layers and values of options with those of a variant behind them.

    Two that mean the same give the same, however often they repeat what was there before.
    """
    layers = list(base.get("stored", ()))
    values = dict(base["secrets"])
    if added := changes.get("stored"):
        layers += [{"values": values}, *added]
        values = {}
    values.update(changes.get("secrets", {}))
    return _plain(layers, values), values


def _plain(layers: list[Layer], values: Mapping[str, str]) -> list[Layer]:
    """Layers without what later ones say again."""
    kept: list[Layer] = []
    known = set(values)
    for layer in reversed(layers):
        if "values" not in layer:
            if layer not in kept:
                kept.append(layer)
            continue
        own = {name: value for name, value in layer["values"].items() if name not in known}
        known.update(own)
        if own:
            kept.append({"values": own})
    return kept[::-1]


def of(options: Mapping[str, Any]) -> list[Layer]:
    """The layers of a function, and of the buckets that its containers have."""
    rows = [one["bucket"] for one in options.get("volumes", ()) if "bucket" in one]
    return [layer for own in (options, *rows) for layer in own.get("stored", ())]


def confine(wanted: Sequence[Layer], *owners: Mapping[str, Any]) -> None:
    """Hold a container to the stored secrets that it, or what it calls, was given.

    Args:
        wanted: what it asks for.
        owners: options whose references it may use.

    Raises:
        PermissionDeniedError: for any other.
    """
    given = [one for own in owners for one in of(own)]
    allowed = [place_of(one) for one in given if "name" in one]
    for layer in wanted:
        if "name" in layer and place_of(layer) not in allowed:
            raise PermissionDeniedError(
                f"a container asks for the secret `{layer['name']}`, which its own function "
                "has not",
                hint=f'give it with @app.function(secrets=[volant.Secret.from_name("'
                f'{layer["name"]}")])',
            )


def place_of(layer: Layer) -> tuple[str | None, str]:
    """Environment and name of what a layer refers to."""
    return layer["environment"], layer["name"]
