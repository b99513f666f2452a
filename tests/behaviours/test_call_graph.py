"""`FunctionCall.get_call_graph()`: which input has made which call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.behaviours.image_builds import Gate
    from tests.behaviours.programs import Program

    Start = Callable[..., Program]

SHOW = """
import sys, volant, volant.types; sys.path.insert(0, '.'); import lasting
def show(infos):  # plain calls are in it only where their maker is certain
    return sorted((info.function_name, info.status.name, show(info.children)) for info in infos
                  if info.function_name != 'double')
"""


def test_the_graph_is_right_where_inputs_share_a_container(
    own_home: Path, start: Start, gate: Gate
) -> None:
    assert start("lasting.py", "deploy", 0, home=own_home).end()[0] == 0
    code = (
        "branch = volant.Function.from_name('lasting', 'branch')\n"
        f"calls = [branch.spawn({gate.port}, depth) for depth in (1, 2)]\n"
        "print(*[call.object_id for call in calls])\n"
        "print(*[call.get() for call in calls])\n"
        "for call in calls: print(show(call.get_call_graph()))\n"
        "[info] = calls[0].get_call_graph()\n"
        "print(info.module_name, info.task_id[:3], info.function_call_id == calls[0].object_id)"
    )
    program = start("-c", SHOW + code, home=own_home)
    program.line()
    for _ in range(6):  # one of depth 2, two of depth 1, three of depth 0
        gate.wait().close()
    assert program.line() == "2 6"

    def tree(depth: int) -> tuple[object, ...]:
        return ("branch", "SUCCESS", [tree(below) for below in range(depth)])

    for depth in (1, 2):
        assert program.line() == str([tree(depth)])
    assert program.line() == "lasting ta- True"
