"""The graph of a durable call: its inputs, the calls that each has made, their inputs, and so on.

rows of the database ──► nodes, level by level ──► what is in memory alone: where inputs run,
                                                   and plain calls of those that run
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.wire import frames, values
from volant.wire.faults import is_start_fault
from volantd.hub.durable.requests import asks_again, id_of, look_up

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.hub.durable.kept import Made
    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.sealing.sealer import Sealer
    from volantd.store.calls import CallRow

#: Inputs of one graph; the rest is left out, and the answer says so.
INPUTS_MAX = 10_000
#: Levels of one graph.
LEVELS_MAX = 100

#: How a fault of the platform is called -> what has become of its input.
_STATUS = {"InputCancellation": "terminated", "FunctionTimeoutError": "timeout"}
_PLAIN_STATUS = {"cancelled": "terminated"}


def call_graph(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The inputs of a durable call and, below them, those of all calls that they have made."""
    call_id = id_of(message)
    if asks_again(session, message, ""):
        return None

    async def answer(found: CallRow) -> None:
        graph = _Graph(session.hub.services.database.sealer)
        await session.hub.services.database.look(lambda connection: graph.read(connection, found))
        graph.look_around(session.hub)
        if not session.peer.closed:
            fields = {"inputs": graph.nodes[:INPUTS_MAX], "cut": graph.is_cut}
            session.reply(message["id"], fields)

    look_up(session, message, call_id, answer)
    return None


class _Graph:
    """The graph as far as it is known: a node for each input, parents first."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.nodes: list[dict[str, Any]] = []
        self.is_cut = False
        self._modules: dict[tuple[str, int], dict[str, str]] = {}

    def read(self, connection: Connection, root: CallRow) -> None:
        """Take what the database has."""
        from volantd.store import calls as store

        level = [root]
        for _ in range(LEVELS_MAX):
            known: list[str] = []
            for row in level:
                known.append(row.call_id)
                self._add(connection, row)
                made: Any = [] if row.made is None else values.decode_map(row.made)["calls"]
                for call_id, function, by, state in made:
                    self._add_plain(call_id, function, by, state, row.call_id)
                    known.append(call_id)
            level = store.made_by(connection, known, INPUTS_MAX)
            if not level:
                return
            if len(self.nodes) >= INPUTS_MAX:
                break
        self.is_cut = True

    def _add(self, connection: Connection, row: CallRow) -> None:
        """Add the inputs of a call."""
        from volantd.store import calls as store

        count = min(row.inputs, INPUTS_MAX - len(self.nodes))
        self.is_cut |= count < row.inputs
        statuses: dict[int, tuple[str, str]] = {}
        for items, container_id in store.results_of(connection, row.call_id, count):
            pairs = frames.split_items(items.section, items.count)
            for index, (kind, payload) in enumerate(pairs, items.first):
                statuses[index] = (_status(kind, payload), container_id)
        name = row.function if row.method is None else f"{row.function}.{row.method}"
        module = self._module(connection, row)
        parent = (row.parent, row.parent_index) if self.nodes else (None, None)
        for index in range(count):
            status, container_id = statuses.get(index, ("pending", ""))
            self._add_node(
                call_id=row.call_id, index=index, status=status, function=name, module=module,
                container_id=container_id, parent=parent[0], parent_index=parent[1],
            )  # fmt: skip

    def _add_plain(
        self, call_id: str, function: str, by: int | None, state: str, parent: str
    ) -> None:
        self._add_node(
            call_id=call_id, index=0, status=_PLAIN_STATUS.get(state, state), function=function,
            module="", container_id="", parent=parent, parent_index=by,
        )  # fmt: skip

    def _add_node(self, **fields: Any) -> None:
        if len(self.nodes) < INPUTS_MAX:
            self.nodes.append(fields)
        else:
            self.is_cut = True

    def _module(self, connection: Connection, row: CallRow) -> str:
        from volantd.store import calls as store

        key = row.app_id, row.version
        if key not in self._modules:
            found = store.description_of(connection, *key)
            raw = None if found is None else self._sealer.open(*found)
            specs: Any = [] if raw is None else values.decode_map(raw)["functions"]
            self._modules[key] = {spec["name"]: spec["module"] or "" for spec in specs}
        return self._modules[key].get(row.function, "")

    def look_around(self, hub: Hub) -> None:
        """Take what is in memory alone: where inputs run, plain calls that running ones made."""
        pending = {
            (node["call_id"], node["index"]): node
            for node in self.nodes
            if node["status"] == "pending"
        }
        for link in hub.links.values():
            for sent in link.batches.values():
                first = sent.batch.first_index
                for index in range(first + sent.batch.done, first + sent.batch.count):
                    node = pending.get((sent.call.call_id, index))
                    if node is not None:
                        node["container_id"] = link.container_id
        for call_id in {node["call_id"] for node in self.nodes}:
            call = hub.calls.get(call_id)
            made: list[Made] = [] if call is None or not call.retain else call.kept.made
            for one in made:
                self._add_plain(one.call_id, one.function, one.by, one.state, call_id)


def _status(kind: int, payload: bytes) -> str:
    if kind != frames.FAULT:
        return "success"
    try:
        fields = values.decode_map(payload)
    except ValueError:
        return "failure"
    return (
        "init_failure"
        if is_start_fault(fields)
        else _STATUS.get(str(fields.get("error")), "failure")
    )
