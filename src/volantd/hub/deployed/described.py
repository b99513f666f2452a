"""An app's functions from its description, and what a description is known by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.wire import values
from volant.wire.frames import EXPRESS_TOKEN_BYTES
from volantd.hub import checks
from volantd.hub.records import App, Function, Version
from volantd.images import described

if TYPE_CHECKING:
    from volantd.hub.blobs import BlobCache
    from volantd.hub.environments.record import Environment

#: Options of what has an image and is no function.
_BARE: dict[str, Any] = {"env": {}, "secrets": {}, "block_network": False}
_RUNNER_FIELDS = (
    "name", "module", "qualname", "serialized", "series", "is_async", "is_generator", "methods",
    "schema", "web",
)  # fmt: skip
#: Of what is kept; whoever adds a field that is required counts it up, and fills it in for those
#: that were kept before.
FORMAT = 1
#: What a description says of the client alone that sends it, and not of the app.
_OF_THE_CLIENT = ("base", "express", "output", "interactive", "detach")
#: Of what is kept, where a container has deployed it.
_SPONSOR = "sponsor"


def add_functions(app: App, description: dict[str, Any]) -> None:
    """Give an app the functions of a checked description whose images are settled."""
    for index, spec in enumerate(description["functions"]):
        at = EXPRESS_TOKEN_BYTES * index
        function = Function(
            express_token=description["express"][at : at + EXPRESS_TOKEN_BYTES],
            function_id=ids.new_id("fu"), name=spec["name"], app=app,
            version=Version.of(description, spec, app.environment),
            spec={key: spec[key] for key in _RUNNER_FIELDS}, options=spec["options"],
        )  # fmt: skip
        function.keep_instance()
        app.functions[function.name] = function
        app.numbers[description["base"] + index] = function
    if not app.functions:
        alone = [{"image": index, "options": _BARE} for index in range(len(app.images))]
        app.alone = [Version.of(description, one, app.environment) for one in alone]


def opened(
    blobs: BlobCache, raw: bytes, environment: Environment, app_id: str, version: int, key: str = ""
) -> App:
    """An app from a description that was kept, not yet in the books of the hub.

    Its contents were kept as well: whoever needs one that is not here fails, and does not wait.

    Raises:
        ValueError: for a description that is none, or of another release.
    """
    description: dict[str, Any] = values.decode_map(raw)
    checks.check_description(description)
    for image in description["images"]:
        described.settle(image, None, image.get(described.ASKED_BY, app_id))
    app = App(
        app_id=app_id, name=description["name"] or "app", environment=environment, key=key,
        version=version,
        tags=description["tags"], detach=True, output=False, images=description["images"],
        interactive=False, session=None, state="deployed", sponsor=sponsor_of(description),
    )  # fmt: skip
    add_functions(app, description)
    blobs.expect_all(sizes_of(description), app.name)
    return app


def sizes_of(description: dict[str, Any]) -> dict[str, int]:
    """The contents that a description names: hash -> bytes."""
    sizes = {entry[2]: entry[3] for entry in description["files"]}
    for image in description["images"]:
        sizes.update(described.sizes(image))
    return sizes


def named_by(raw: bytes) -> set[str]:
    """The contents that a description names which was kept."""
    return set(sizes_of(values.decode_map(raw)))


def kept(description: dict[str, Any], name: str, sponsor: str = "") -> dict[str, Any]:
    """What is kept of a settled description: enough to open the app without its client.

    Args:
        description: what the client, or a container, has sent.
        name: that it is deployed under.
        sponsor: see `App.sponsor`.
    """
    told = {
        **description, "base": 0, "express": b"", "output": False, "interactive": False,
        "detach": True, "format": FORMAT, "name": name,
    }  # fmt: skip
    told.pop(_SPONSOR, None)
    return {**told, _SPONSOR: sponsor} if sponsor else told


def sponsor_of(description: dict[str, Any]) -> str:
    """The sponsor of an app whose description was kept; "" for the user's own."""
    return str(description.get(_SPONSOR, ""))


def fingerprint_of(raw: bytes) -> str:
    """`fingerprint` of a description that was kept."""
    return fingerprint(values.decode_map(raw))


def fingerprint(description: dict[str, Any]) -> str:
    """Equal for settled descriptions of apps that do the same."""
    told = {name: value for name, value in description.items() if name not in _OF_THE_CLIENT}
    told["images"] = [described.identity(image) for image in description["images"]]
    return hashlib.sha256(values.encode(told)).hexdigest()
