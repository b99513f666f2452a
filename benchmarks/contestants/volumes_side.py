"""Volumes: many small files put, put again, a large one read in a container."""

from __future__ import annotations

import os
import tempfile
from time import perf_counter
from typing import Any

from benchmarks.contestants.volant_side import Running

_PIECE_BYTES = 16 << 20


class Volumes(Running):
    """An app with a volume, and files to put into it."""

    def __init__(self, files: int, file_bytes: int, large_bytes: int) -> None:
        from benchmarks.apps import volumes

        super().__init__(volumes.app)
        self._volumes = volumes
        self._directory = tempfile.TemporaryDirectory(prefix="vb-files-")
        self._turns = 0
        self._files, self._file_bytes = files, file_bytes
        large = os.path.join(self._directory.name, "large")
        with open(large, "wb") as file:
            file.writelines(os.urandom(_PIECE_BYTES) for _ in range(large_bytes // _PIECE_BYTES))
        with volumes.volume.batch_upload(force=True) as batch:
            batch.put_file(large, "/large")

    def turn(self, what: str, count: int = 1) -> dict[str, Any]:
        if what == "read":
            rates = self._volumes.read.remote(count)
            volume, plain = ([rate / 1e6 for rate in side] for side in zip(*rates, strict=True))
            return {"volume": volume, "plain": plain}
        if what == "commit":
            return {"ms": self._volumes.commit.remote(count)}
        self._turns += 1
        many = os.path.join(self._directory.name, f"many-{self._turns}")
        for index in range(self._files):
            if index % 100 == 0:
                os.makedirs(f"{many}/{index // 100}")
            with open(f"{many}/{index // 100}/{index}", "wb") as file:
                file.write(os.urandom(self._file_bytes))
        return {"first_ms": self._put(many), "again_ms": self._put(many)}

    def _put(self, many: str) -> float:
        begun = perf_counter()
        with self._volumes.volume.batch_upload(force=True) as batch:
            batch.put_directory(many, "/many")
        return (perf_counter() - begun) * 1e3

    def close(self) -> None:
        super().close()
        self._directory.cleanup()
