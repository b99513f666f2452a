"""Changes dicts and queues while its daemon is killed, and says what it was told was done.

    python killed.py put COUNT      puts numbers into a queue and a dict
    python killed.py get COUNT      takes numbers out of the queue
    python killed.py count TRIES    adds one to a number, as whoever has the lock

Each line it prints was acknowledged before.
"""

from __future__ import annotations

import sys

import volant

work = volant.Queue.from_name("work", create_if_missing=True)
seen = volant.Dict.from_name("seen", create_if_missing=True)


def put(count: int) -> None:
    for number in range(count):
        work.put(number)
        seen.put(number, str(number))
        print("put", number, flush=True)


def get(count: int) -> None:
    for _ in range(count):
        print("got", work.get(), flush=True)


def count(tries: int) -> None:
    """Each takes a key that is free once, and gives back one that it took."""
    for number in range(tries):
        taken = seen.put(f"lock-{number}", True, skip_if_exists=True)
        given = seen.pop(f"lock-{number}", None)
        print("locked", taken, given, flush=True)


if __name__ == "__main__":
    {"put": put, "get": get, "count": count}[sys.argv[1]](int(sys.argv[2]))
