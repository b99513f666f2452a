"""The load: spawns, results, dicts, queues and volumes, each written down when it was acknowledged.

    python -m tests.crashes.load JOURNAL FIRST COUNT

A line of the journal is JSON: what was done, and with what. It is written and synced after the
answer came, so whatever the file names was acknowledged.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from typing import Any

import volant
from volant.errors import Error

#: Threads that spawn, and inputs that one asks for at once.
SPAWNERS = 6


class Acknowledged:
    """The journal of one load."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def note(self, **what: Any) -> None:
        """Write down what was acknowledged; on the disk when this returns."""
        line = json.dumps(what).encode() + b"\n"
        with self._lock:
            os.write(self._fd, line)
            os.fdatasync(self._fd)


def spawn(journal: Acknowledged, numbers: range) -> None:
    """Spawn a call for each number, and look at the results of some."""
    work = volant.Function.from_name("crashes", "work")
    for number in numbers:
        call = work.spawn(number)
        journal.note(did="spawned", call=call.object_id, number=number)
        if number % 7 == 0:
            journal.note(did="seen", call=call.object_id, result=call.get())


def change_dict(journal: Acknowledged, numbers: range) -> None:
    """Put a value for each number, and remove some again."""
    entries = volant.Dict.from_name("crashes", create_if_missing=True)
    for number in numbers:
        entries.put(number, -number)
        journal.note(did="put", key=number)
        if number % 5 == 0:
            entries.pop(number)
            journal.note(did="popped", key=number)


def use_queue(journal: Acknowledged, numbers: range) -> None:
    """Put an item for each number, and take some."""
    items = volant.Queue.from_name("crashes", create_if_missing=True)
    for number in numbers:
        items.put(number)
        journal.note(did="queued", item=number)
        if number % 3 == 0:
            journal.note(did="taken", item=items.get())


def write_files(journal: Acknowledged, numbers: range) -> None:
    """Commit a file for each number, from outside and from a container in turn."""
    volume = volant.Volume.from_name("crashes", create_if_missing=True)
    write = volant.Function.from_name("crashes", "write")
    for number in numbers:
        if number % 2:
            write.remote(number)
            journal.note(did="committed", path=f"/inside-{number}", number=number)
            continue
        with volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(str(number).encode() * 1000), f"/outside-{number}")
        journal.note(did="committed", path=f"/outside-{number}", number=number)


def main(path: str, first: int, count: int) -> None:
    """Run the load from number `first` on; ends when all is done."""
    journal = Acknowledged(path)
    share = count // SPAWNERS
    threads = [
        threading.Thread(target=_tried, args=(spawn, journal, range(at, at + share)))
        for at in range(first, first + share * SPAWNERS, share)
    ]
    others = range(first, first + count // 10)
    threads += [
        threading.Thread(target=_tried, args=(one, journal, others))
        for one in (change_dict, use_queue, write_files)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _tried(work: Any, journal: Acknowledged, numbers: range) -> None:
    """Do one part; what is refused or cannot be reached any more was not acknowledged."""
    try:
        work(journal, numbers)
    except (Error, OSError) as error:
        print(f"{work.__name__}: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
