"""Images that were built before as bases: by their id, or by a name that was published.

What a client sends is looked up when its app opens, and becomes the key of the image: whoever
runs a name goes on with what it meant then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.fields import optional, text
from volantd.images.keys import LOOKED_UP
from volantd.images.steps.kind import Kind, digest

if TYPE_CHECKING:
    from volantd.images.kept.books import Record
    from volantd.images.workbench import Workbench

#: Characters of what is taken for an id, or the beginning of one.
ID_CHARS_MAX = 64
#: Name and tag of a published image, each.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def _gone(step: dict[str, Any], bench: Workbench) -> Record:
    raise ImageBuildError(
        "the image that this one begins with has been removed since the app was started",
        hint="start the app again; `volant image list` shows the images that are there",
    )


def published(fields: dict[str, Any]) -> str:
    """The name of a published image with its tag, from fields of these names.

    Raises:
        ValueError: when they cannot be one.
    """
    for part in ("name", "tag"):
        if not _NAME.fullmatch(text(fields, part)):
            raise ValueError(f"{fields[part][:200]!r} cannot be the {part} of an image")
    return f"{fields['name']}:{fields['tag']}"


def _check_id(step: dict[str, Any]) -> None:
    if "key" in step:
        digest(step["key"])
    elif len(text(step, "image_id")) > ID_CHARS_MAX:
        raise ValueError("the id of an image is too long")


def _check_name(step: dict[str, Any]) -> None:
    published(step)
    optional(text, {"environment": None, **step}, "environment")


KINDS = {
    LOOKED_UP: Kind(_check_id, _gone, is_base=True, is_step=False),
    "name": Kind(_check_name, _gone, is_base=True, is_step=False),
}
