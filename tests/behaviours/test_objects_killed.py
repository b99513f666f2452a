"""Dicts and queues while the daemon is killed: what was acknowledged is there, nothing twice."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

from tests.behaviours.programs import Program, run_program
from tests.support import daemon_pid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 120
chance = random.Random(11)


def kill(home: Path, last: int = 0) -> int:
    """Kill the daemon, another one than last time; which that was."""
    pid = daemon_pid(home)
    if pid is None or pid == last:
        return last  # it has just been killed, or all is done
    os.kill(pid, signal.SIGKILL)
    return pid


def run_killing(program: Program, home: Path, step: int) -> list[str]:
    """What a program prints whose daemon is killed about every `step` lines."""
    found, last, due = [], 0, step
    for line in program.lines():
        found.append(line)
        if len(found) >= due and (killed := kill(home, last)) != last:
            last = killed
            due = len(found) + chance.randrange(step // 2, step)
    code, _, complaint = program.end()
    assert code == 0, complaint
    return found


def test_what_was_put_is_there_once_and_in_its_order(
    own_home: Path, start: Callable[..., Program]
) -> None:
    put = run_killing(start("killed.py", "put", COUNT, home=own_home), own_home, 40)
    assert put == [f"put {at}" for at in range(COUNT)]
    kill(own_home)
    seen = run_program("-c", (
        "import volant; q, d = volant.Queue.from_name('work'), volant.Dict.from_name('seen');"
        "print(list(q.iterate()) == q.get_many(5000) == sorted(d.keys()) == sorted(map(int,"
        f" d.values())) == list(range({COUNT})), q.len())"
    ), home=own_home)  # fmt: skip
    assert seen.stdout == "True 0\n", seen.stderr


def test_what_was_got_is_got_by_nobody_else(own_home: Path, start: Callable[..., Program]) -> None:
    assert start("killed.py", "put", COUNT, home=own_home).end()[0] == 0
    other = start("killed.py", "get", COUNT // 3, home=own_home)
    got = run_killing(start("killed.py", "get", COUNT // 3, home=own_home), own_home, 15)
    code, printed, complaint = other.end()
    assert code == 0, complaint
    got += printed.splitlines()
    kill(own_home)
    rest = start("killed.py", "get", COUNT - 2 * (COUNT // 3), home=own_home).end()[1]
    assert sorted([*got, *rest.splitlines()]) == sorted(f"got {at}" for at in range(COUNT))


def test_a_getter_that_is_killed_takes_no_more_than_it_got(
    own_home: Path, start: Callable[..., Program]
) -> None:
    """It may have had one value in its hands that it could not print any more."""
    assert start("killed.py", "put", COUNT, home=own_home).end()[0] == 0
    getter = start("killed.py", "get", COUNT, home=own_home)
    got = [getter.line() for _ in range(20)]
    getter.process.kill()
    got += getter.lines()
    rest = run_program("-c", (
        "import volant; print(*volant.Queue.from_name('work').get_many(5000), sep='\\n')"
    ), home=own_home)  # fmt: skip
    left = rest.stdout.splitlines()
    assert left == [str(at) for at in range(COUNT - len(left), COUNT)]
    assert len(got) + len(left) in (COUNT, COUNT - 1)


def test_a_lock_is_taken_once_although_the_answer_was_lost(
    own_home: Path, start: Callable[..., Program]
) -> None:
    """Behaviour 142: whoever asks again after a kill is told what the first time had come of."""
    printed = run_killing(start("killed.py", "count", COUNT, home=own_home), own_home, 40)
    assert printed == ["locked True True"] * COUNT


EPHEMERAL = """
import sys, volant
with volant.Dict.ephemeral() as entries, volant.Queue.ephemeral() as line:
    entries["a"] = 1
    line.put(2)
    print(entries.object_id, line.object_id, flush=True)
    sys.stdin.readline()
    print(entries["a"], line.get(), flush=True)
"""


def test_an_ephemeral_object_goes_on_with_its_program(
    own_home: Path, start: Callable[..., Program]
) -> None:
    """Behaviour 103: and ends with it, whatever daemon there is by then."""
    program = Program("-c", EPHEMERAL, home=own_home, interactive=True)
    ids = program.line().split()
    kill(own_home)
    program.say("go on\n")
    assert program.line() == "1 2"
    assert program.end()[0] == 0
    gone = start("-c", f"import volant; volant.Dict.from_id({ids[0]!r}).get(1)", home=own_home)
    code, _, complaint = gone.end()
    assert code == 1
    assert f"there is no dict '{ids[0]}'" in complaint
