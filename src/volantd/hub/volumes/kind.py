"""What the registry of objects has to know of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire import values
from volantd.hub import checks
from volantd.hub.objects.kinds import NamedObject, ObjectKind
from volantd.hub.volumes.answering import KIND

if TYPE_CHECKING:
    from volantd.volumes.service import Volumes

#: Versions of the programming model; both are kept in the same way.
VERSIONS = (1, 2)
VERSION_DEFAULT = 2


def volume_kind(volumes: Volumes) -> ObjectKind:
    """Volumes as objects with names."""
    return ObjectKind(
        name=KIND, prefix="vo", tables=("volume_commits",), options_of=_options_of, check=_check,
        ended=lambda found: volumes.ended(found.object_id),
    )  # fmt: skip


def _version_in(message: dict[str, Any]) -> int | None:
    if message.get("version") is None:
        return None
    return checks.whole(message, "version", VERSIONS[0], VERSIONS[-1])


def _options_of(message: dict[str, Any]) -> bytes:
    return values.encode({"version": _version_in(message) or VERSION_DEFAULT})


def _check(found: NamedObject, message: dict[str, Any]) -> None:
    wanted = _version_in(message)
    has = values.decode_map(found.options)["version"]
    if wanted is not None and wanted != has:
        raise InvalidError(
            f"volume {found.name or found.object_id} is of version {has!r}, not {wanted}",
            hint="leave version= out, or delete the volume first",
        )
