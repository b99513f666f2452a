"""`Volume`: a tree of files that outlives containers, and that they have as a directory.

vol = volant.Volume.from_name("models", create_if_missing=True)

@app.function(volumes={"/data": vol})
def train() -> None:
    ...                 # writes below /data
    vol.commit()        # others see it; happens by itself every few seconds, and at the end

with vol.batch_upload() as batch:
    batch.put_file("weights.bin", "/weights.bin")
for piece in vol.read_file("weights.bin"): ...
"""

from __future__ import annotations

from volant import _context, ids
from volant.errors import InvalidError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.naming import check_environment, check_name
from volant.sdk.objects.asking import Value, ask, awaited, blocking, both, both_iter
from volant.sdk.objects.handle import check_client
from volant.sdk.objects.named import AtEphemeral, Ephemeral, EphemeralOf, Named, Objects, new
from volant.sdk.volumes.entries import Content, FileEntry, State, checked_path, raise_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO, ClassVar

    from typing_extensions import Self

    from volant.sdk.objects.asking import Steps, Values
    from volant.sdk.objects.client import Client
    from volant.sdk.volumes.uploading import BatchUpload

#: What is read of a file at once.
READ_BYTES = 4 << 20


class EphemeralVolume(EphemeralOf["Volume"]):
    """`Volume.ephemeral(...)` and `Volume.ephemeral.aio(...)`, which are the same."""

    __slots__ = ()

    def __call__(
        self, *, version: int | None = None, environment_name: str | None = None,
        create_options: None = None, client: Client | None = None,
    ) -> Ephemeral[Volume]:  # fmt: skip
        check_environment(environment_name)
        check_client(client)
        _check_options(create_options)
        object_id = ids.new_id(Volume._prefix)
        version = _checked_version(version)
        return Ephemeral(Volume(None, environment_name, object_id, version=version))

    aio = __call__


class _AtEphemeralVolume(AtEphemeral):
    def __get__(  # type: ignore[override]  # of volumes alone
        self, instance: object, owner: type[Volume]
    ) -> EphemeralVolume:
        return EphemeralVolume(owner)


class Volume(Named):
    """A handle on a volume. See `volant.Volume.from_name`."""

    _kind = "volume"
    _prefix = "vo"
    objects: ClassVar[VolumeObjects]
    rename: ClassVar[Rename]
    ephemeral = _AtEphemeralVolume()

    def __init__(
        self, name: str | None, environment: str | None, object_id: str | None, *,
        create: bool = False, version: int | None = None, is_read_only: bool = False,
        sub_path: str = "",
    ) -> None:  # fmt: skip
        super().__init__(name, environment, object_id, create=create)
        self._version = version
        self._is_read_only = is_read_only
        self._sub_path = sub_path

    @classmethod
    def from_name(
        cls, name: str, *, environment_name: str | None = None, create_if_missing: bool = False,
        version: int | None = None, create_options: None = None, client: Client | None = None,
    ) -> Self:  # fmt: skip
        """The volume of a name; asks nobody until it is used.

        Args:
            name: 1 to 64 letters, digits, `-`, `.` or `_`.
            environment_name: where it is; by default the environment of this process.
            create_if_missing: whether its first use makes it if need be.
            version: 1 or 2, both of which are the same here; None for whatever it is.
            create_options: nothing; there are none.
            client: of no need: a process has one.

        Raises:
            InvalidError: for what cannot be a name, or another version.
        """
        check_name("a Volume", name)
        check_environment(environment_name)
        check_client(client)
        _check_options(create_options)
        return cls(
            name, environment_name, None, create=create_if_missing,
            version=_checked_version(version),
        )  # fmt: skip

    def with_mount_options(
        self, *, read_only: bool | None = None, sub_path: str | None = None
    ) -> Self:
        """The same volume, to be mounted in another way; what is not given stays as it is.

        Args:
            read_only: whether nothing can be written through this handle, and where it is mounted.
            sub_path: the directory of it that is mounted; made if it is not there.

        Raises:
            InvalidError: for a path that leads out of the volume.
        """
        return type(self)(
            self._name, self._environment, self._object_id, create=self._create,
            version=self._version,
            is_read_only=self._is_read_only if read_only is None else read_only,
            sub_path=self._sub_path if sub_path is None else checked_path(sub_path),
        )  # fmt: skip

    def read_only(self) -> Self:
        """`with_mount_options(read_only=True)`."""
        return self.with_mount_options(read_only=True)

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, (
            type(self), self._name, self._environment, self._object_id, self._create,
            self._version, self._is_read_only, self._sub_path,
        )  # fmt: skip

    def _within(self, environment: str | None) -> Volume:
        """What its name means in an environment, if it says nothing else itself."""
        if environment is None or self._name is None or self._environment is not None:
            return self
        return Volume(self._name, environment, None, create=self._create, version=self._version)

    def _known_as(self) -> object:
        """Equal for handles of which it is known that they are on one volume."""
        return (self._environment, self._name) if self._name is not None else self._object_id

    def _wishes(self) -> dict[str, object]:
        return {"version": self._version}

    # -- in a container

    @both
    def commit(self) -> Steps[None]:
        """Have others see what this container has written: `vol.commit()`.

        Raises:
            InvalidError: outside a container that has it mounted.
        """
        _refuse_outside("commit")
        yield ask("volume_commit", object_id=(yield from self._id()))

    @both
    def reload(self) -> Steps[None]:
        """Have this container see what others have committed; what it wrote is committed.

        Raises:
            ConflictError: while a file of it is open in this container.
            InvalidError: outside a container that has it mounted.
        """
        _refuse_outside("reload")
        yield ask("volume_reload", object_id=(yield from self._id()))

    # -- looking

    @both
    def listdir(self, path: str, *, recursive: bool = False) -> Steps[list[FileEntry]]:
        """What is in a directory, or the file at a path: `vol.listdir("/")`.

        Raises:
            FileNotFoundError: when there is nothing.
        """
        found: list[FileEntry] = []
        at, skip = "", 0
        while True:
            reply = yield from self._page(path, recursive, at, skip)
            found += [FileEntry(reply["above"], row) for row in reply["rows"]]
            at, skip = reply["at"], skip + len(reply["rows"])
            if not reply["more"]:
                return found

    @both_iter
    def iterdir(self, path: str, *, recursive: bool = True) -> Values[FileEntry]:
        """As `listdir`, one entry after the other.

        Raises:
            FileNotFoundError: when there is nothing.
        """
        at, skip = "", 0
        while True:
            reply = yield from self._page(path, recursive, at, skip)
            for row in reply["rows"]:
                yield Value(FileEntry(reply["above"], row))
            at, skip = reply["at"], skip + len(reply["rows"])
            if not reply["more"]:
                return

    def _page(self, path: str, recursive: bool, at: str, skip: int) -> Steps[dict[str, Any]]:
        reply: dict[str, Any] = yield ask(
            "volume_list", object_id=(yield from self._id()), path=checked_path(path),
            recursive=recursive, at=at, skip=skip,
        )  # fmt: skip
        raise_problem(reply)
        return reply

    @both_iter
    def read_file(self, path: str) -> Values[bytes]:
        """The content of a file, in pieces: `for piece in vol.read_file("a.bin")`.

        Raises:
            FileNotFoundError: when there is none.
            IsADirectoryError: for a directory.
        """
        found = yield from self._stat(path)
        size, offset = found.size, 0
        with found:
            while offset < size:
                data = yield from self._piece(found, offset)
                yield Value(data)
                offset += len(data)

    @both
    def read_file_into_fileobj(self, path: str, fileobj: BinaryIO) -> Steps[int]:
        """Write the content of a file into a file that is open; how many bytes that were.

        Raises:
            FileNotFoundError: when there is none.
            IsADirectoryError: for a directory.
        """
        found = yield from self._stat(path)
        size, offset = found.size, 0
        with found:
            while offset < size:
                data = yield from self._piece(found, offset)
                fileobj.write(data)
                offset += len(data)
        return size

    def _stat(self, path: str) -> Steps[Content]:
        reply = yield ask("volume_stat", object_id=(yield from self._id()), path=checked_path(path))
        raise_problem(reply)
        row = reply["entry"]
        if row[1] != "f":
            raise IsADirectoryError(21, "this is a directory of the volume", path)
        return Content(reply["content"], row[6], reply["local"])

    def _piece(self, found: Content, offset: int) -> Steps[bytes]:
        count = min(READ_BYTES, found.size - offset)
        data = found.read(offset, count)
        if data is None:
            reply = yield ask(
                "volume_read", object_id=(yield from self._id()), content=found.digest,
                size=found.size, offset=offset, count=count,
            )  # fmt: skip
            data = reply["data"]
        if not data:
            raise EOFError(f"the volume has lost the end of a file, after {offset} bytes")
        return data

    @both
    def history(self, *, max_states: int | None = None) -> Steps[list[State]]:
        """The states that the volume has had, the latest first: `vol.history()`."""
        reply = yield ask("volume_history", object_id=(yield from self._id()), max=max_states)
        return [State(row) for row in reply["states"]]

    # -- changing

    @both
    def remove_file(self, path: str, recursive: bool = False) -> Steps[None]:
        """Remove a file or link, or with `recursive` a directory with all that is in it.

        Raises:
            FileNotFoundError: when there is nothing.
            IsADirectoryError: for a directory, unless `recursive`.
            InvalidError: through a read-only handle.
        """
        self._refuse_read_only()
        reply = yield ask(
            "volume_remove", object_id=(yield from self._id()), path=checked_path(path),
            recursive=recursive, **fresh_change(),
        )  # fmt: skip
        raise_problem(reply, is_directory=True)

    @both
    def copy_files(
        self, src_paths: Sequence[str], dst_path: str, recursive: bool = False
    ) -> Steps[None]:
        """Copy within the volume: one to a path, or any into a directory that is there.

        Raises:
            FileNotFoundError: when one is not there, or a directory for several is not.
            IsADirectoryError: for a directory, unless `recursive`.
            InvalidError: through a read-only handle.
        """
        self._refuse_read_only()
        if isinstance(src_paths, str):
            raise InvalidError(
                f"copy_files takes a list of paths, got {src_paths!r}",
                hint=f"write [{src_paths!r}]",
            )
        reply = yield ask(
            "volume_copy", object_id=(yield from self._id()),
            sources=[checked_path(path) for path in src_paths], target=checked_path(dst_path),
            recursive=recursive, **fresh_change(),
        )  # fmt: skip
        raise_problem(reply, is_directory=True)

    @both
    def restore(self, number: int) -> Steps[None]:
        """Have the volume contain what it contained in an earlier state: `vol.restore(3)`.

        What containers have mounted stays as it is until they reload.

        Raises:
            NotFoundError: when that state is not kept.
            InvalidError: through a read-only handle.
        """
        self._refuse_read_only()
        yield ask(
            "volume_restore", object_id=(yield from self._id()), number=number, **fresh_change()
        )

    @property
    def batch_upload(self) -> BeginUpload:
        """Put files into the volume, all at once at the end of a block: `batch_upload(force)`.

        Used by `with` or `async with`. With `force`, files that are there already are replaced.

        Raises (when called):
            InvalidError: through a read-only handle.
        """
        return BeginUpload(self)

    def _refuse_read_only(self) -> None:
        if self._is_read_only:
            raise InvalidError(
                f"{self!r} is read-only through this handle",
                hint="use one without with_mount_options(read_only=True)",
            )


class BeginUpload:
    """`volume.batch_upload(...)`, and `volume.batch_upload.aio(...)`, which is the same."""

    __slots__ = ("_volume",)

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def __call__(self, force: bool = False) -> BatchUpload:
        from volant.sdk.volumes.uploading import BatchUpload

        self._volume._refuse_read_only()
        return BatchUpload(self._volume, force=force)

    aio = __call__


class Rename:
    """`Volume.rename("old", "new")`, and `.aio`: gives a volume another name.

    Raises (when called):
        NotFoundError: when there is none of the old name.
        AlreadyExistsError: when there is one of the new name.
    """

    __slots__ = ()

    def __call__(
        self, old_name: str, new_name: str, *, environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:  # fmt: skip
        warn_blocking("Volume.rename(...)", "await Volume.rename.aio(...)")
        check_client(client)
        blocking(_renamed(old_name, new_name, environment_name))

    async def aio(
        self, old_name: str, new_name: str, *, environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:  # fmt: skip
        """The same, awaited."""
        check_client(client)
        await awaited(_renamed(old_name, new_name, environment_name))


def _renamed(old_name: str, new_name: str, environment_name: str | None) -> Steps[None]:
    check_name("a Volume", new_name)
    volume = Volume.from_name(old_name, environment_name=environment_name)
    yield ask("volume_rename", object_id=(yield from volume._id()), name=new_name)


class VolumeObjects(Objects[Volume]):
    """`Volume.objects`: the volumes that have names."""

    __slots__ = ()

    @both
    def create(
        self, name: str, *, allow_existing: bool = False, version: int | None = None,
        environment_name: str | None = None, client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """Make a volume.

        Raises:
            AlreadyExistsError: when there is one of that name, unless `allow_existing`.
            InvalidError: for what cannot be a name, or another version.
        """
        check_name("a Volume", name)
        check_client(client)
        yield ask(
            "object_create", kind=Volume._kind, name=name, allow_existing=allow_existing,
            environment=check_environment(environment_name), version=_checked_version(version),
            **new(Volume._prefix),
        )  # fmt: skip


Volume.objects = VolumeObjects(Volume)
Volume.rename = Rename()


def _check_options(create_options: object) -> None:
    if create_options is not None:
        raise InvalidError(f"a volume has no options to be made with, got {create_options!r}")


def _checked_version(version: object) -> int | None:
    if version is not None and (type(version) is not int or version not in (1, 2)):
        raise InvalidError(f"a volume is of version 1 or 2, got {version!r}")
    return version


def _arrived(
    cls: type[Volume], name: str | None, environment: str | None, object_id: str | None,
    create: bool, version: int | None, is_read_only: bool, sub_path: str,
) -> Volume:  # fmt: skip
    return cls(
        name, environment, object_id, create=create, version=version, is_read_only=is_read_only,
        sub_path=sub_path,
    )  # fmt: skip


def _refuse_outside(what: str) -> None:
    if not _context.in_container():
        raise InvalidError(
            f"vol.{what}() is for containers that have the volume mounted",
            hint="here, batch_upload(), remove_file() and copy_files() change it at once",
        )


def fresh_change() -> dict[str, object]:
    """What tells a change from others when it is sent again, and who makes it."""
    from volant.sdk.deploying.facts import deployer

    return {"change_id": ids.new_id("cg"), "made_by": deployer()}
