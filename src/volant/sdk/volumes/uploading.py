"""What `vol.batch_upload()` does: reads, hashes, sends what the hub has not, names it all at once.

small files    many together: hashes ─► those that are lacking ─► sent
large files    hashes of chunks ─► those that are lacking ─► sent one by one
all            one change: nothing of it is seen before, all of it afterwards
"""

from __future__ import annotations

import os
import stat

from volant import _context
from volant.errors import InvalidError, ServiceError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.objects.asking import ask, ask_with, awaited, blocking
from volant.sdk.volumes.entries import checked_path, raise_problem
from volant.sdk.volumes.volume import fresh_change
from volant.wire import chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, BinaryIO

    from volant.sdk.objects.asking import Steps
    from volant.sdk.volumes.volume import Volume

    Source = str | BinaryIO

#: Small contents that are asked about, and sent, together.
BATCH_BYTES = 4 << 20
BATCH_COUNT = 4000
#: How often everything is begun anew because something was removed at the hub meanwhile.
ATTEMPTS_MAX = 3
#: Paths of one change.
ENTRIES_MAX = 200_000
MODE_DEFAULT = 0o644


class BatchUpload:
    """Files that are put into a volume at the end of a block.

    Made by `Volume.batch_upload`.
    """

    def __init__(self, volume: Volume, *, force: bool) -> None:
        self._volume = volume
        self._force = force
        self._progress: Callable[[int, int], object] = lambda *_: None
        #: Path in the volume -> where it comes from, and its mode; None for a directory.
        self._puts: dict[str, tuple[Source, int | None] | None] = {}

    def tell(self, progress: Callable[[int, int], object]) -> None:
        """Have somebody told how many more files, and bytes of them, are sent."""
        self._progress = progress

    def put_file(
        self, local_file: str | os.PathLike[str] | BinaryIO, remote_path: str | os.PathLike[str],
        mode: int | None = None,
    ) -> None:  # fmt: skip
        """Put a file, or what an open file contains from where it stands.

        Args:
            local_file: a path, or a file that is open for reading bytes.
            remote_path: of the file in the volume.
            mode: its permissions; those of the local file by default.

        Raises:
            FileNotFoundError: when there is no such file.
            InvalidError: for a path that cannot be one of a file in the volume.
        """
        path = checked_path(remote_path)
        if not path or str(remote_path).endswith("/"):
            raise InvalidError(
                f"{str(remote_path)!r} cannot be the path of a file",
                hint="name the file itself, not the directory",
            )
        if mode is not None and not 0 <= mode <= 0o7777:
            raise InvalidError(f"mode must be from 0 to 0o7777, got {mode!r}")
        if isinstance(local_file, (str, os.PathLike)):
            local = os.fspath(local_file)
            if not stat.S_ISREG(os.stat(local).st_mode):
                raise InvalidError(f"{local!r} is no file", hint="put_directory() puts directories")
            self._puts[path] = local, mode
        elif hasattr(local_file, "read"):
            self._puts[path] = local_file, mode
        else:
            raise InvalidError(f"put_file takes a path or an open file, got {local_file!r}")

    def put_directory(
        self, local_path: str | os.PathLike[str], remote_path: str | os.PathLike[str],
        recursive: bool = True,
    ) -> None:  # fmt: skip
        """Put the files of a directory, and with `recursive` those of all directories in it.

        Links to files are followed, links to directories left out.

        Raises:
            FileNotFoundError: when there is no such directory.
            NotADirectoryError: when it is none.
        """
        top, above = os.fspath(local_path), checked_path(remote_path)
        self._puts.setdefault(above, None)
        waiting = [(top, above)]
        while waiting:
            directory, remote = waiting.pop()
            with os.scandir(directory) as entries:
                for entry in entries:
                    path = f"{remote}/{entry.name}" if remote else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if recursive:
                            self._puts.setdefault(path, None)
                            waiting.append((entry.path, path))
                    elif entry.is_file():
                        self._puts[path] = entry.path, None

    def __enter__(self) -> BatchUpload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._puts:
            warn_blocking("with vol.batch_upload()", "async with vol.batch_upload()")
            blocking(self._upload())

    async def __aenter__(self) -> BatchUpload:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._puts:
            await awaited(self._upload())

    def _upload(self) -> Steps[None]:
        object_id = yield from self._volume._id()
        sending = Sending(object_id, self._progress)
        paths = list(self._puts)
        for first in range(0, len(paths), ENTRIES_MAX):
            some = paths[first : first + ENTRIES_MAX]
            for _ in range(ATTEMPTS_MAX):
                reply = yield from self._put(object_id, sending, some)
                if reply.get("problem") != "contents":
                    break
            else:
                raise ServiceError("what was sent is removed at the hub again and again")
            raise_problem(reply)

    def _put(self, object_id: str, sending: Sending, paths: list[str]) -> Steps[dict[str, Any]]:
        import json

        for path in paths:
            source = self._puts[path]
            if source is None:
                sending.rows[path] = None
            else:
                yield from sending.file(path, *source)
        yield from sending.send_batch()
        rows = [[path, sending.rows.pop(path)] for path in paths]
        data = json.dumps(rows, separators=(",", ":")).encode()
        reply: dict[str, Any] = yield ask(
            "volume_write", object_id=object_id, entries=data, force=self._force,
            **fresh_change(),
        )  # fmt: skip
        return reply


class Sending:
    """Contents on their way to the hub, and what is to be named by them.

    Attributes:
        rows: path -> entry as the hub takes it, None for a directory.
    """

    def __init__(self, object_id: str, progress: Callable[[int, int], object]) -> None:
        self._object_id = object_id
        self._progress = progress
        self.rows: dict[str, list[Any] | None] = {}
        #: Where open files stood, None of those that cannot go back: they may be read once more.
        self._starts: dict[str, int | None] = {}
        #: hash -> content
        self._batch: dict[str, bytes] = {}
        self._batch_bytes = 0

    def file(self, path: str, source: Source, mode: int | None) -> Steps[None]:
        """Send a file, at once or with others.

        Raises:
            OSError: when it cannot be read.
        """
        if isinstance(source, str):
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                info = os.fstat(fd)
                own_mode = stat.S_IMODE(info.st_mode) if mode is None else mode
                yield from self._descriptor(path, fd, info.st_size, own_mode, info.st_mtime_ns)
            finally:
                os.close(fd)
            return
        from tempfile import TemporaryFile
        from time import time_ns

        self._rewind(path, source)
        with TemporaryFile() as copied:
            while data := source.read(chunks.CHUNK_BYTES):
                if not isinstance(data, bytes):
                    raise InvalidError(f"{source!r} gives no bytes: open it with mode 'rb'")
                copied.write(data)
            copied.flush()
            size = copied.tell()
            mode = MODE_DEFAULT if mode is None else mode
            yield from self._descriptor(path, copied.fileno(), size, mode, time_ns())

    def _rewind(self, path: str, source: BinaryIO) -> None:
        """Have an open file stand where it stood when it was read first.

        Raises:
            ServiceError: when it cannot go back.
        """
        if path not in self._starts:
            is_seekable = hasattr(source, "seekable") and source.seekable()
            self._starts[path] = source.tell() if is_seekable else None
            return
        start = self._starts[path]
        if start is None:
            raise ServiceError(
                f"the hub has lost what {path} was to have, and {source!r} cannot be read again",
                hint="begin the upload again",
            )
        source.seek(start)

    def _descriptor(self, path: str, fd: int, size: int, mode: int, mtime_ns: int) -> Steps[None]:
        content = ""
        if size > chunks.SMALL_BYTES:
            size, content = yield from self._large(path, fd, size)
        else:
            data = chunks.read_at(fd, size, 0)
            size = len(data)
            if data:
                content = chunks.digest_of(data)
                self._batch[content] = data
                self._batch_bytes += size
        self.rows[path] = ["f", mode, 0, 0, mtime_ns, size, content, [], ""]
        if self._batch_bytes > BATCH_BYTES or len(self._batch) > BATCH_COUNT:
            yield from self.send_batch()
        self._progress(1, size)

    def send_batch(self) -> Steps[None]:
        """Send the small contents that have come together, if the hub has not got them."""
        if not self._batch:
            return
        digests = list(self._batch)
        reply = yield ask("volume_missing", object_id=self._object_id, digests=_joined(digests))
        missing = [digests[index] for index in reply["missing"]]
        if missing:
            contents = [self._batch[digest] for digest in missing]
            yield ask(
                "volume_store", object_id=self._object_id, digests=_joined(missing),
                sizes=[len(content) for content in contents], data=b"".join(contents),
            )  # fmt: skip
        self._batch, self._batch_bytes = {}, 0

    def _large(self, path: str, fd: int, size: int) -> Steps[tuple[int, str]]:
        digests = [
            chunks.ZERO_DIGEST if data is None else chunks.digest_of(data)
            for _, data in chunks.pieces(fd, size)
        ]
        reply = yield ask(
            "volume_begin", object_id=self._object_id, path=path, size=size,
            chunks=_joined(digests),
        )  # fmt: skip
        content: str = reply["content"]
        if reply["lacking"] and not _context.in_container():
            yield ask_with(fd, "volume_take", object_id=self._object_id, content=content)
            return size, content
        for index in reply["lacking"]:
            data = chunks.read_at(fd, chunks.CHUNK_BYTES, index * chunks.CHUNK_BYTES)
            if chunks.digest_of(data) != digests[index]:
                raise InvalidError(
                    f"{path} changed while it was sent", hint="begin the upload again"
                )
            yield ask(
                "volume_chunk", object_id=self._object_id, content=content, index=index, data=data
            )
        return size, content


def _joined(digests: list[str]) -> bytes:
    return bytes.fromhex("".join(digests))
