"""The load: all that is durable, changed; each change written down when it was acknowledged.

    python -m tests.crashes.load JOURNAL FIRST COUNT

A line of the journal is JSON: what was done, and with what. It is written and synced after the
answer came, so whatever the file names was acknowledged. With `--record` the journal is the record
of what the daemon does to its files, and a line an entry of it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from time import time
from typing import Any

import volant
from tests.crashes.power.disk import told
from tests.support import VOLANT
from volant.errors import Error

#: What has to have been done ahead of it, as arguments of the command.
AHEAD = (("secret", "create", "crashes", "NUMBER=0"), ("deploy", "tests/crashes/shop.py"))
#: Threads that spawn.
SPAWNERS = 6
#: Bytes that travel in a memory file, of a value that lies in a file, of a content that does.
LARGE_BYTES = 2 << 20
#: Of the numbers one in so many is deployed; deploying takes a while.
DEPLOYED = 6


class Acknowledged:
    """The journal of one load."""

    def __init__(self, path: str, *, is_record: bool) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._is_record = is_record
        self._lock = threading.Lock()

    def note(self, **what: Any) -> None:
        """Write down what was acknowledged; on the disk when this returns."""
        line = json.dumps({**what, "at": time()}).encode() + b"\n"
        if self._is_record:
            line = told(line)
        with self._lock:
            os.write(self._fd, line)
            os.fdatasync(self._fd)


def spawn(journal: Acknowledged, numbers: range) -> None:
    """Spawn a call for each number, and look at the results of some."""
    work = volant.Function.from_name("crashes", "work")
    for number in numbers:
        key = key_of(number)
        form = work if key is None else work.with_idempotency_key(key)
        call = form.spawn(number, large_of(number))
        journal.note(did="spawned", call=call.object_id, number=number)
        if number % 7 == 0:
            journal.note(did="seen", call=call.object_id, token=call.get()[1])


def key_of(number: int) -> str | None:
    """The idempotency key with which a number is spawned."""
    return f"key-{number}" if number % 5 == 1 else None


def large_of(number: int) -> bytes:
    """What goes along with a number: mostly nothing."""
    return b"" if number % 29 else number.to_bytes(4, "big") * (LARGE_BYTES // 4)


def value_of(number: int) -> Any:
    """What is put into the dict for a number."""
    return -number if number % 9 else large_of(number * 29)


def times_of(number: int) -> int:
    """How often a number is in its file."""
    return 1000 if number % 8 > 1 else LARGE_BYTES // len(str(number))


def change_dict(journal: Acknowledged, numbers: range) -> None:
    """Put a value for each number, and remove some again."""
    entries = volant.Dict.from_name("crashes", create_if_missing=True)
    for number in numbers:
        entries.put(number, value_of(number))
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
            write.remote(number, times_of(number))
            journal.note(did="committed", path=f"/inside-{number}", number=number)
            continue
        with volume.batch_upload(force=True) as batch:
            content = io.BytesIO(str(number).encode() * times_of(number))
            batch.put_file(content, f"/outside-{number}")
        journal.note(did="committed", path=f"/outside-{number}", number=number)


def change_secret(journal: Acknowledged, numbers: range) -> None:
    """Have the secret be each number in its turn, with another sealing key now and then."""
    secret = volant.Secret.from_name("crashes")
    for number in numbers:
        secret.update({"NUMBER": str(number)})
        journal.note(did="secret", number=number)
        if number % 20 == 0:
            _command("secret", "rotate-key")


def deploy(journal: Acknowledged, numbers: range) -> None:
    """Deploy a version that tells its number, and go back to one now and then."""
    for number in numbers[::DEPLOYED]:
        served = volant.App("crashes-served")
        served.function(serialized=True, name="told")(lambda number=number: number)
        served.deploy(tag=f"n{number}")
        journal.note(did="deployed", tag=f"n{number}")
        if number % (3 * DEPLOYED) == 0:
            back = _command("app", "rollback", "crashes-served")
            if back is not None:
                journal.note(did="rolled back", version=back["version"])


def make_tokens(journal: Acknowledged, numbers: range) -> None:
    """Make a token now and then."""
    for number in numbers[::DEPLOYED]:
        made = _command("token", "create", f"n{number}")
        if made is not None:
            journal.note(did="token", key=made["key"])


def _command(*words: str) -> dict[str, Any] | None:
    """What a command says; None if it failed."""
    argv = [VOLANT, *words, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    told: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return told


#: What is done beside spawning.
OTHERS = (change_dict, use_queue, write_files, change_secret, deploy, make_tokens)


def main(path: str, first: int, count: int, *, is_record: bool) -> None:
    """Run the load from number `first` on; ends when all is done."""
    journal = Acknowledged(path, is_record=is_record)
    share = count // SPAWNERS
    threads = [
        threading.Thread(target=_tried, args=(spawn, journal, range(at, at + share)))
        for at in range(first, first + share * SPAWNERS, share)
    ]
    others = range(first, first + count // 10)
    threads += [threading.Thread(target=_tried, args=(one, journal, others)) for one in OTHERS]
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
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), is_record="--record" in sys.argv[4:])
