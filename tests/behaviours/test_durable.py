"""Durable calls: what was acknowledged is there whatever is killed, and has one result."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.programs import Program
from tests.support import eventually, run_volant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.behaviours.image_builds import Gate

    Start = Callable[..., Program]

#: Begins every program here.
PREAMBLE = (
    "import sys, volant, volant.errors, numpy as np; sys.path.insert(0, '.'); import lasting\n"
    "from_name = volant.Function.from_name\n"
)


def _kill_daemon(home: Path) -> None:
    status = json.loads(run_volant("server", "status", "--json", home=home).stdout)
    gone = os.pidfd_open(status["pid"])
    os.kill(status["pid"], signal.SIGKILL)
    import select

    select.select([gone], [], [])
    os.close(gone)


def _said(start: Start, home: Path, code: str) -> list[str]:
    """What a program prints that has `lasting`, in lines."""
    program = start("-c", PREAMBLE + code, home=home)
    status, printed, complaint = program.end()
    assert status == 0, complaint
    return printed.splitlines()


@pytest.fixture
def deployed(own_home: Path, start: Start) -> Path:
    """A home with a daemon of its own, where `lasting` is deployed."""
    assert start("lasting.py", "deploy", 0, home=own_home).end()[0] == 0
    return own_home


def test_results_are_there_for_any_process_after_a_kill(deployed: Path, start: Start) -> None:
    code = (
        "calls = [lasting.double, ]\n"
        "double = from_name('lasting', 'double'); fail = from_name('lasting', 'fail')\n"
        "calls = [double.spawn(21), double.spawn(np.arange(1 << 20)), fail.spawn('no')]\n"
        "calls.append(double.experimental_spawn_map(range(1000)))\n"
        "[call.get() for call in calls[:2]]; calls[3].get(index=999)\n"
        "try: calls[2].get()\n"
        "except ValueError: pass\n"
        "print(*[call.object_id for call in calls])"
    )
    [ids] = _said(start, deployed, code)
    _kill_daemon(deployed)
    code = (
        f"calls = [volant.FunctionCall.from_id(one) for one in {ids.split()!r}]\n"
        "print(calls[0].get(), calls[1].get()[7], calls[1].get()[8])\n"
        "print(calls[3].num_inputs(), list(calls[3].iter())[-1])\n"
        "try: calls[2].get()\n"
        "except ValueError as error: print(type(error), error)"
    )
    assert _said(start, deployed, code) == ["42 14 16", "1000 1998", "<class 'ValueError'> no"]


def test_calls_go_on_with_the_daemon_that_follows(deployed: Path, start: Start, gate: Gate) -> None:
    code = (
        f"call = from_name('lasting', 'pass_gate').spawn({gate.port}, 'kept')\n"
        f"big = from_name('lasting', 'pass_gate').spawn({gate.port}, np.arange(1 << 20))\n"
        f"model = volant.Cls.from_name('lasting', 'Model')(size=7)\n"
        f"print(call.object_id, big.object_id, model.pass_gate.spawn({gate.port}).object_id)"
    )
    [ids] = _said(start, deployed, code)
    before = [gate.wait() for _ in range(3)]  # they run
    _kill_daemon(deployed)
    code = (
        f"calls = [volant.FunctionCall.from_id(one) for one in {ids.split()!r}]\n"
        "try: calls[0].get(timeout=0)\n"
        "except TimeoutError: print('pending')\n"
        "print(calls[0].get(), calls[1].get()[9], calls[2].get())"
    )
    waiting = start("-c", PREAMBLE + code, home=deployed)
    assert waiting.line() == "pending"
    for again in [gate.wait() for _ in range(3)]:
        again.close()
    assert waiting.line() == "kept 9 7"
    for one in before:
        one.close()


def test_calls_of_lasting_apps_survive_a_stop_of_the_daemon(
    deployed: Path, start: Start, gate: Gate
) -> None:
    code = f"print(from_name('lasting', 'pass_gate').spawn({gate.port}, 'kept').object_id)"
    [call_id] = _said(start, deployed, code)
    before = gate.wait()
    assert run_volant("server", "stop", home=deployed).returncode == 0
    before.close()
    code = f"print(volant.FunctionCall.from_id({call_id!r}).get())"
    waiting = start("-c", PREAMBLE + code, home=deployed)
    gate.wait().close()
    assert waiting.line() == "kept"


def test_of_many_inputs_only_those_without_a_result_run_again(
    deployed: Path, start: Start, gate: Gate
) -> None:
    code = (
        f"inputs = [({gate.port}, number) for number in range(4)]\n"
        "gate = from_name('lasting', 'pass_gate_in_turn')\n"
        "call = gate.experimental_spawn_map([one[0] for one in inputs], range(4))\n"
        "print(call.object_id, call.get(), call.get(index=1))"
    )
    program = start("-c", PREAMBLE + code, home=deployed)
    for _ in range(2):
        gate.wait().close()
    call_id, *results = program.line().split()
    assert results == ["0", "1"]
    third = gate.wait()
    _kill_daemon(deployed)
    third.close()
    code = f"print(list(volant.FunctionCall.from_id({call_id!r}).iter()))"
    waiting = start("-c", PREAMBLE + code, home=deployed)
    for _ in range(2):
        gate.wait().close()
    assert waiting.line() == "[0, 1, 2, 3]"


def test_a_detached_app_goes_on_without_client_and_daemon(
    own_home: Path, start: Start, gate: Gate
) -> None:
    program = start("lasting.py", "detached", gate.port, home=own_home)
    call_id = program.line()
    assert program.end()[0] == 0
    before = gate.wait()
    _kill_daemon(own_home)
    before.close()
    code = f"print(volant.FunctionCall.from_id({call_id!r}).get())"
    waiting = start("-c", PREAMBLE + code, home=own_home)
    gate.wait().close()
    assert waiting.line() == "detached"

    def ended() -> bool:
        apps = json.loads(run_volant("app", "list", "--json", home=own_home).stdout)
        return [app["state"] for app in apps if app["name"] == "lasting"][-1:] != ["detached"]

    eventually(ended)


def test_an_app_with_its_client_goes_on_with_both(own_home: Path, gate: Gate) -> None:
    program = Program("lasting.py", "attached", gate.port, home=own_home, interactive=True)
    try:
        program.line()
        before = [gate.wait() for _ in range(2)]
        _kill_daemon(own_home)
        program.say("go on\n")
        for again in [gate.wait() for _ in range(2)]:
            again.close()
        assert program.line() == "attached 5"
        for one in before:
            one.close()
    finally:
        program.kill()


def test_calls_of_an_app_whose_client_does_not_come_back_are_cancelled(
    own_home: Path, start: Start, gate: Gate
) -> None:
    program = Program("lasting.py", "attached", gate.port, home=own_home, interactive=True)
    call_id = program.line().split()[0]
    program.kill()
    code = (
        f"try: volant.FunctionCall.from_id({call_id!r}).get()\n"
        "except volant.errors.InputCancellation as error: print('cancelled')"
    )
    assert _said(start, own_home, code) == ["cancelled"]


def test_a_call_that_is_sent_again_after_its_end_does_not_run_again(
    deployed: Path, start: Start
) -> None:
    """The answer to a spawn may be lost with the daemon, when all else is done already."""
    code = (
        "from volant.sdk.calls import calling; from volant import ids\n"
        "from volant.wire.frames import RETAIN\n"
        "from volant.channel import current; from volant.channel.waiters import SpawnWaiter\n"
        "double = from_name('lasting', 'double'); double.hydrate(); channel = current.channel()\n"
        "number = channel.next_number()\n"
        "def send(value):\n"
        "    frame = calling.submit_frame(double._bound(), number, RETAIN, (value,), {})\n"
        "    waiter = SpawnWaiter(*frame); channel.register(number, waiter)\n"
        "    channel.send(waiter.frame); channel.wait(waiter)\n"
        "send(1)\n"
        "call = volant.FunctionCall.from_id('fc-' + ids.call_id(channel.session, number))\n"
        "print(call.get())\n"
        "lasting.kill_daemon(); double.remote(0)\n"
        "send(100); print(call.get())"
    )
    assert _said(start, deployed, code) == ["2", "2"]


def test_a_container_spawns_durably(deployed: Path, start: Start, gate: Gate) -> None:
    code = f"print(from_name('lasting', 'spawn_further').remote({gate.port}))"
    [call_id] = _said(start, deployed, code)
    before = gate.wait()
    _kill_daemon(deployed)
    before.close()
    code = f"print(volant.FunctionCall.from_id({call_id!r}).get())"
    waiting = start("-c", PREAMBLE + code, home=deployed)
    gate.wait().close()
    assert waiting.line() == "grandchild"


def test_results_are_kept_no_longer_than_they_were_to_be(
    deployed: Path, start: Start, own_home: Path
) -> None:
    [call_id] = _said(
        start, deployed, "call = from_name('lasting', 'double').spawn(1); call.get()\n"
        "print(call.object_id)",
    )  # fmt: skip
    run_volant("server", "stop", home=own_home)
    (own_home / "config.toml").write_text("result_retention_s = 0.0\n")
    code = (
        f"call = volant.FunctionCall.from_id({call_id!r})\n"
        "while True:\n"
        "    try: call.get()\n"
        "    except volant.errors.OutputExpiredError as error: print(error); break"
    )
    [told] = _said(start, deployed, code)
    assert f"the results of {call_id} are kept no more" in told


def test_a_key_is_one_call_across_clients_and_a_kill(
    deployed: Path, start: Start, gate: Gate
) -> None:
    code = (
        "gate = from_name('lasting', 'pass_gate').with_idempotency_key('order-17')\n"
        f"call = gate.spawn({gate.port}, sys.argv[1])\n"
        "print(call.object_id)\n"
        "if len(sys.argv) > 2: print(call.get())"
    )
    [first] = _said(start, deployed, code.replace("sys.argv[1]", "'first'"))
    before = gate.wait()
    [again] = _said(start, deployed, code.replace("sys.argv[1]", "'second'"))
    assert again == first
    _kill_daemon(deployed)
    waiting = start("-c", PREAMBLE + code, "third", "get", home=deployed)
    assert waiting.line() == first
    gate.wait().close()
    assert waiting.line() == "first"
    before.close()
    [after] = _said(start, deployed, code.replace("sys.argv[1]", "'fourth'"))
    assert after == first
    results = (
        "import asyncio\n"
        "gate = from_name('lasting', 'pass_gate').with_idempotency_key('order-17')\n"
        f"print(gate.remote({gate.port}, 'fifth'))\n"
        f"print(asyncio.run(gate.remote.aio({gate.port}, 'sixth')))"
    )
    assert _said(start, deployed, results) == ["first", "first"]
    other = (
        "model = volant.Cls.from_name('lasting', 'Model')\n"
        "calls = [model(size=size).other.with_idempotency_key('k').spawn() for size in (1, 2, 1)]\n"
        "print(*[call.object_id for call in calls])"
    )
    [ids] = _said(start, deployed, other)
    one, two, same = ids.split()
    assert (one == same, one == two) == (True, False)
