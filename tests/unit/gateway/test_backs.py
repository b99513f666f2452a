"""Which clients are passed pages of containers."""

from __future__ import annotations

from typing import Any

from volantd.gateway import limits
from volantd.gateway.back import Backs


class Client:
    """A connection, as far as it matters."""

    holds = ""


def test_so_many_clients_hold_pages_of_a_container_until_they_leave():
    loop: Any = None
    backs = Backs(loop)
    clients: list[Any] = [Client() for _ in range(limits.BULK_CLIENTS_MAX + 1)]
    *holders, late = clients
    assert all(backs.may_hold(client, "one") for client in holders)
    assert not backs.may_hold(late, "one")
    assert backs.may_hold(holders[0], "one")
    assert not backs.may_hold(holders[0], "two")
    backs.left(holders[0])
    assert backs.may_hold(late, "one")
