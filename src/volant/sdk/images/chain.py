"""The chain of an image: its base, the steps after it, and the files that are attached.

    steps[0]  a base        ─► each further step builds on all before it
    attached  local files that containers get when they start; only more of them may follow

A chain never changes: a method that adds to it makes another image. A step is plain fields, and
readings that become fields when an app runs (contents of local files, the values that a function
uses). Its form on the wire names nothing that differs between two machines with the same content.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.images.local import Gathered, file_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from volant.sdk.images.image import Image
    from volant.sdk.images.local import LocalFile, LocalTree

    class Reading(Protocol):
        """Something local that becomes a plain value of a step."""

        def read(self, gathered: Gathered) -> object:
            """The value; contents to send and calls to make go into `gathered`."""


#: Where sources land, and where containers of images that say nothing else work.
WORKDIR_DEFAULT = "/root"
#: Bases that were built before.
_LOOKED_UP = frozenset({"id", "name"})
#: Bases whose working directory is written in an image that only the daemon sees.
_OWN_WORKDIR = frozenset({"registry", "dockerfile", "id", "name"})


class SecretVariables:
    """What secrets give a step: their names are part of it, their values are sent beside it."""

    __slots__ = ("stored", "values")

    def __init__(self, stored: list[dict[str, Any]], values: dict[str, str]) -> None:
        self.stored = stored
        self.values = values

    def __reduce__(self) -> tuple[object, ...]:
        return SecretVariables, ([], {})  # as `Secret`

    def names(self, field: str, gathered: Gathered) -> list[str]:
        """The names, for the wire; the values go into `gathered` for the field of this step.

        Of what is stored only those are known that it is required to have.
        """
        step, names = str(gathered.step), set(self.values)
        gathered.secrets.setdefault(step, {})[field] = self.values
        if self.stored:
            gathered.stored.setdefault(step, {})[field] = self.stored
        for layer in self.stored:
            names.update(layer["values"] if "values" in layer else layer["keys"])
        return sorted(names)


class Step:
    """One step: its kind, its fields, and what of it is read when an app runs."""

    __slots__ = ("fields", "is_forced", "kind", "readings")

    def __init__(
        self,
        kind: str,
        fields: dict[str, Any] | None = None,
        *,
        is_forced: bool = False,
        readings: dict[str, Reading] | None = None,
    ) -> None:
        self.kind = kind
        self.fields = fields or {}
        self.is_forced = bool(is_forced)
        self.readings = readings or {}

    def to_wire(self, gathered: Gathered) -> dict[str, object]:
        """The step as a control message carries it."""
        read = {name: reading.read(gathered) for name, reading in self.readings.items()}
        plain = {
            name: value.names(name, gathered) if isinstance(value, SecretVariables) else value
            for name, value in self.fields.items()
        }
        forced = {"force": True} if self.is_forced else {}
        return {"kind": self.kind, **plain, **read, **forced}


class Described:
    """An image as it is sent: the map, and the contents that the map names by digest."""

    __slots__ = ("contents", "wire")

    def __init__(
        self,
        wire: dict[str, object],
        contents: dict[str, str | bytes],
    ) -> None:
        self.wire = wire
        #: sha256 -> local path, or the content itself where no file has just that
        self.contents = contents


class Chain:
    """What all groups of methods of an image share."""

    __slots__ = ("_attached", "_missed", "_object_id", "_steps")

    def __init__(
        self,
        steps: tuple[Step, ...],
        attached: tuple[LocalFile | LocalTree, ...] = (),
    ) -> None:
        self._steps = steps
        self._attached = attached
        #: What `imports()` passed over, for a container of this image to raise.
        self._missed: Exception | None = None
        #: Told by the daemon.
        self._object_id: str | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._steps, self._attached)

    def described(self) -> Described:
        """The image with its local files read, for the moment when an app runs.

        Raises:
            InvalidError: for local files that cannot be read any more.
        """
        if self._is_host:
            from volant.sdk.images.host import host_wire

            return Described(host_wire(), {})
        gathered = Gathered()
        steps = []
        for gathered.step, step in enumerate(self._steps):
            steps.append(step.to_wire(gathered))
        wire: dict[str, object] = {
            "kind": "built",
            "steps": _rebuilt(steps),
            "attached": file_list(self._attached, gathered),
            "contents": gathered.sizes,
            "secrets": gathered.secrets,
        }
        if gathered.stored:
            wire["stored"] = gathered.stored
        if gathered.calls:
            wire["calls"] = gathered.calls
        return Described(wire, gathered.contents)

    def to_wire(self) -> dict[str, object]:
        """The image as a control message carries it; reads its local files."""
        return self.described().wire

    def build_modules(self) -> list[str]:
        """Names of the modules whose source a build needs."""
        found = []
        for step in self._steps:
            if step.kind == "function":
                from volant.sdk.images.functions import BuildCall

                call = step.readings["digest"]
                if isinstance(call, BuildCall) and call.brings_source:
                    found.append(call.raw.__module__)
        return found

    @property
    def _is_host(self) -> bool:
        return self._steps[0].kind == "host"

    @property
    def _workdir(self) -> str | None:
        """The working directory after the last step, None when only the daemon can know it."""
        workdir = None if self._steps[0].kind in _OWN_WORKDIR else WORKDIR_DEFAULT
        for step in self._steps[1:]:
            if step.kind == "workdir":
                workdir = str(step.fields["path"])
            elif step.kind == "dockerfile":
                from volant.sdk.images.dockerfile import workdir_after

                workdir = workdir_after(step.fields["commands"], workdir)
        return workdir

    def _then(self, method: str, step: Step) -> Image:
        """The image with one more step, of which `method` is the name for people."""
        self._refuse_host(method)
        if self._attached:
            raise InvalidError(
                f"`{method}` comes after files that were added without copy=True: those are put "
                "into containers when they start, so nothing can be built on them",
                hint="pass copy=True to the add_local_* step, or move it to the end",
            )
        return self._made((*self._steps, step))

    def _attaching(self, method: str, added: list[LocalFile | LocalTree], copy: bool) -> Image:
        """The image with local files, in a layer or put into containers when they start."""
        from volant.sdk.images.local import FileList

        if copy:
            return self._then(method, Step("copy", readings={"files": FileList(tuple(added))}))
        self._refuse_host(method)
        return self._made(self._steps, (*self._attached, *added))

    def _refuse_host(self, method: str) -> None:
        if self._is_host:
            raise InvalidError(
                f"`{method}` cannot follow Image.host(): that is this machine's own environment, "
                "and nothing is built on it",
                hint="begin with volant.Image.debian_slim() instead",
            )

    @staticmethod
    def _made(*parts: Any) -> Image:
        from volant.sdk.images.image import Image

        return Image(*parts)


def _rebuilt(steps: list[dict[str, object]]) -> list[dict[str, object]]:
    """Steps as the settings `force_build` and `ignore_cache` want them, changed in place.

    Neither changes what was built before and is only looked up.
    """
    from volant import config

    settings = config.load().values
    first = next((step for step in steps if step["kind"] not in _LOOKED_UP), None)
    if first is not None and settings["ignore_cache"]:
        from volant import ids

        first["apart"] = ids.new_id("im")  # part of all keys from here on, which are new then
    elif first is not None and settings["force_build"]:
        first["force"] = True
    return steps
