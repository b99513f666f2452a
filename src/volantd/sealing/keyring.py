"""The sealing keys of a home: a file that only its owner reads, made on first need.

    begin(key) ─► keys: old, new ─► all is sealed anew ─► keep(new) ─► keys: new

What is written is written beside the file and renamed, so a kill leaves one state or the other,
and in either each sealed value has its key.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
from dataclasses import asdict, dataclass

from volant.errors import DataLossError, PermissionDeniedError
from volantd import syncing

FILE_NAME = "sealing.key"
FORMAT = 1
#: Bytes of a key, for AES-256, and of the id by which sealed values name it.
KEY_BYTES = 32
ID_BYTES = 8
#: A file that is longer is none of ours.
FILE_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """One key; both fields are hexadecimal."""

    key_id: str
    key: str

    def __repr__(self) -> str:
        return f"<sealing key {self.key_id}>"

    @property
    def raw(self) -> bytes:
        """The key itself."""
        return bytes.fromhex(self.key)


def new_key() -> SealingKey:
    """A key that nothing is sealed with yet."""
    return SealingKey(key_id=secrets.token_hex(ID_BYTES), key=secrets.token_hex(KEY_BYTES))


class Keyring:
    """The keys in a directory. May be used on any thread.

    Args:
        directory: the daemon's home, or a backup of it.
        is_home: whether the file has to be its owner's alone; that of a backup may have been
            carried by what knows no owners.
    """

    def __init__(self, directory: str, *, is_home: bool = True) -> None:
        self.path = os.path.join(directory, FILE_NAME)
        self._is_home = is_home
        self._lock = threading.Lock()
        self._keys: tuple[SealingKey, ...] | None = None
        #: Those that are forgotten: somebody may have read what is just being sealed anew.
        self._forgotten: tuple[SealingKey, ...] = ()

    def all(self) -> tuple[SealingKey, ...]:
        """All keys, the one that seals last; none where there is no file.

        Raises:
            PermissionDeniedError: when others can read the file.
            DataLossError: when it is damaged.
        """
        with self._lock:
            return self._read()

    def current(self) -> SealingKey:
        """The key that seals; made when there is none.

        Raises:
            PermissionDeniedError, DataLossError: as `all`.
            OSError: when it cannot be written.
        """
        with self._lock:
            keys = self._read()
            if not keys:
                keys = self._write((new_key(),))
            return keys[-1]

    def find(self, key_id: str) -> SealingKey:
        """The key that something was sealed with.

        Raises:
            DataLossError: when it is not there.
        """
        for key in (*self.all(), *self._forgotten):
            if key.key_id == key_id:
                return key
        raise DataLossError(
            f"what is kept was sealed with the key {key_id}, which is not in {self.path}",
            hint="put the file back that belongs to this database, then `volant server stop`: the "
            "next command starts the daemon with it",
        )

    def begin(self, key: SealingKey) -> None:
        """Have another key seal; those before it stay, for what they have sealed.

        Raises:
            PermissionDeniedError, DataLossError, OSError: as `current`.
        """
        with self._lock:
            self._write((*self._read(), key))

    def keep(self, key: SealingKey) -> None:
        """Forget all keys but one, with which all is sealed.

        Raises:
            OSError: when that cannot be written.
        """
        with self._lock:
            self._forgotten += tuple(one for one in self._read() if one != key)
            self._write((key,))

    def _read(self) -> tuple[SealingKey, ...]:
        if self._keys is not None:
            return self._keys
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return ()
        with open(fd, "rb") as file:
            self._check(os.fstat(fd))
            raw = file.read(FILE_BYTES_MAX)
        self._keys = _parsed(raw, self.path)
        return self._keys

    def _check(self, found: os.stat_result) -> None:
        mode = stat.S_IMODE(found.st_mode) if self._is_home else 0
        owner = found.st_uid if self._is_home else os.geteuid()
        if not stat.S_ISREG(found.st_mode) or owner != os.geteuid() or mode & 0o077:
            raise PermissionDeniedError(
                f"others can read or change {self.path} (mode {mode:04o}, owner {owner})",
                hint="make it yours, with mode 0600; if others may have read it, "
                "`volant secret rotate-key` makes another key",
            )

    def _write(self, keys: tuple[SealingKey, ...]) -> tuple[SealingKey, ...]:
        content = json.dumps({"format": FORMAT, "keys": [asdict(key) for key in keys]}, indent=2)
        syncing.replace(self.path, content.encode() + b"\n")
        self._keys = keys
        return keys


def _parsed(raw: bytes, path: str) -> tuple[SealingKey, ...]:
    try:
        told = json.loads(raw)
        if told["format"] != FORMAT:
            raise DataLossError(
                f"{path} is of another release (format {told['format']!r})",
                hint="use the release that wrote it, or a later one",
            )
        keys = tuple(SealingKey(**one) for one in told["keys"])
        sizes = {(len(bytes.fromhex(key.key_id)), len(key.raw)) for key in keys}
    except (ValueError, TypeError, KeyError) as error:
        raise DataLossError(
            f"{path} is damaged: {error}", hint="put it back from a backup of this home"
        ) from error
    if not keys or sizes != {(ID_BYTES, KEY_BYTES)}:
        raise DataLossError(f"{path} is damaged", hint="put it back from a backup of this home")
    return keys
