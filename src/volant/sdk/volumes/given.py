"""What `volumes={...}` means: what volumes and buckets a function's containers have, and where."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.objects.asking import blocking
from volant.sdk.planned import unimplemented
from volant.sdk.volumes.bucket import CloudBucketMount
from volant.sdk.volumes.volume import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volant.sdk.images.local import Gathered

#: Volumes of one function.
VOLUMES_MAX = 100
#: Names of the root below which containers have what is theirs.
_FORBIDDEN = ("proc", "sys", "dev", ".volant")


def checked(
    volumes: Mapping[str, object] | None, before: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The volumes of a function, with those of its app or of what it is a variant of.

    Raises:
        InvalidError: for a place where none can be, what is no volume and no bucket, and one
            volume twice.
    """
    if volumes is None:
        return list(before)
    if not isinstance(volumes, dict):
        raise InvalidError(
            f"volumes must be a dict of paths to volumes, got {volumes!r}",
            hint='write volumes={"/data": volume}',
        )
    found = {one["path"]: one for one in before}
    for given, volume in volumes.items():
        path = _checked_path(given)
        if isinstance(volume, CloudBucketMount):
            found[path] = volume._row(path)
            continue
        if not isinstance(volume, Volume):
            raise InvalidError(
                f"volumes[{given!r}] is no volume, got {volume!r}",
                hint='volant.Volume.from_name("...") is one',
            )
        found[path] = {
            "path": path, "volume": volume, "sub_path": volume._sub_path,
            "read_only": volume._is_read_only,
        }  # fmt: skip
    _refuse_twice([
        (one["path"], one["volume"]._known_as()) for one in found.values() if "volume" in one
    ])  # fmt: skip
    if len(found) > VOLUMES_MAX:
        raise InvalidError(f"{len(found)} volumes of one function, at most {VOLUMES_MAX}")
    return list(found.values())


def _checked_path(given: object) -> str:
    path = str(given) if isinstance(given, str) or hasattr(given, "__fspath__") else ""
    parts = path.split("/")
    names = [part for part in parts[1:] if part not in ("", ".")]
    if parts[0] or not names or ".." in names or "\0" in path or names[0] in _FORBIDDEN:
        raise InvalidError(
            f"a volume cannot be mounted at {given!r}",
            hint="give an absolute path without `..`, such as '/data'",
        )
    if names == ["tmp"]:
        raise InvalidError(
            "a volume cannot be mounted at '/tmp': programs expect that to be their own",
            hint="mount it below, or elsewhere",
        )
    return "/" + "/".join(names)


def _refuse_twice(places: list[tuple[str, object]]) -> None:
    seen: dict[object, str] = {}
    for path, volume in places:
        if volume in seen:
            raise InvalidError(
                f"one volume is mounted at {seen[volume]!r} and at {path!r}",
                hint="mount it once, and use that path",
            )
        seen[volume] = path


def described(options: Mapping[str, Any], environment: str | None) -> dict[str, Any]:
    """Options whose volumes are named by their ids, as a control message carries them.

    Args:
        options: with handles of volumes.
        environment: where those are that say nothing; None for that of this process.

    Raises:
        NotFoundError: for a volume that does not exist, and is not to be made.
        InvalidError: for one volume by two handles.
    """
    rows = [
        {**one, "volume": blocking(one["volume"]._within(environment)._id())}
        if "volume" in one
        else one
        for one in options["volumes"]
    ]
    _refuse_twice([(one["path"], one["volume"]) for one in rows if "volume" in one])
    return {**options, "volumes": rows}


class Mounted:
    """The volumes of a step of an image, found when an app runs.

    Args:
        where: the method that makes the step.
        volumes: what it was given.

    Raises:
        InvalidError: as `checked`.
        UnimplementedError: for a bucket.
    """

    __slots__ = ("_rows",)

    def __init__(self, where: str, volumes: Mapping[str, object]) -> None:
        self._rows = checked(volumes)
        if any("volume" not in one for one in self._rows):
            raise unimplemented(f"a CloudBucketMount in Image.{where}(volumes=...)")

    def read(self, gathered: Gathered) -> list[dict[str, Any]]:
        """Where they are, their ids, and what of them: for the wire."""
        rows: list[dict[str, Any]] = described({"volumes": self._rows}, None)["volumes"]
        return rows
