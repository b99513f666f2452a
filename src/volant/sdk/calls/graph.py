"""The graph of a call: its inputs, and below each those of the calls that it has made."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from volant.channel import current
from volant.sdk.calls.call import Ask, request_async
from volant.sdk.calls.calling import warn_blocking


class InputStatus(enum.IntEnum):
    """What has become of an input."""

    #: it waits, or runs
    PENDING = 0
    #: it returned
    SUCCESS = 1
    #: it raised, or its container died once too often
    FAILURE = 2
    #: no container could be started for it; of a call that was not spawned, that is FAILURE
    INIT_FAILURE = 3
    #: it was cancelled
    TERMINATED = 4
    #: it ran longer than its function may
    TIMEOUT = 5


@dataclass(slots=True, kw_only=True)
class InputInfo:
    """One input of a call, and the inputs of the calls that it has made."""

    input_id: str
    function_call_id: str
    #: the container that it runs or ran in, empty where that is not known
    task_id: str
    status: InputStatus
    #: that of a class has its method behind a dot
    function_name: str
    #: empty for a call that was not spawned
    module_name: str
    children: list[InputInfo] = field(default_factory=list)


class AskGraph(Ask[list[InputInfo]]):
    """`call.get_call_graph()` and `await call.get_call_graph.aio()`."""

    __slots__ = ()

    def __call__(self) -> list[InputInfo]:
        warn_blocking("call.get_call_graph()", "await call.get_call_graph.aio()")
        return self.blocking()

    def blocking(self) -> list[InputInfo]:
        return _tree(current.channel().request(self._op, call=self._call_id))

    async def aio(self) -> list[InputInfo]:
        return _tree(await request_async(self._op, call=self._call_id))


def _tree(reply: dict[str, Any]) -> list[InputInfo]:
    if reply["cut"]:
        import warnings

        warnings.warn("the graph of this call is too large, a part is left out", stacklevel=4)
    inputs: dict[tuple[str, int], InputInfo] = {}
    roots: list[InputInfo] = []
    for node in reply["inputs"]:
        call_id, index, parent = node["call_id"], node["index"], node["parent"]
        made = inputs[call_id, index] = InputInfo(
            input_id=f"in-{call_id}-{index}", function_call_id=f"fc-{call_id}",
            task_id=node["container_id"], status=InputStatus[node["status"].upper()],
            function_name=node["function"], module_name=node["module"],
        )  # fmt: skip
        # Where it is not known which of several inputs has made it, it is with the first.
        above = inputs.get((parent, node["parent_index"] or 0))
        (roots if above is None else above.children).append(made)
    return roots
