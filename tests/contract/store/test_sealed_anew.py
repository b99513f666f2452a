"""Another key for everything that is sealed, over both databases, and killed anywhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.contract.store.sealed import sealed_values
from tests.contract.store.test_calls import _app, _call
from tests.contract.store.test_queries import FIRST
from volant.errors import DataLossError
from volantd.sealing import anew
from volantd.sealing.keyring import Keyring, new_key
from volantd.sealing.sealer import Sealer
from volantd.store import calls, database, deployments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.contract.store.conftest import Session

PLACES = {
    "versions.description/ap-1/1": b"described",
    "kept_apps.description/ap-2": b"kept",
    "calls.variant/c1": b"varied",
}


def _fill(connection: Connection, sealer: Sealer) -> None:
    sealed = {place: sealer.later(place, value) for place, value in PLACES.items()}
    deployments.add_version(
        connection, "ap-1", "shop", FIRST, sealed["versions.description/ap-1/1"].sealed(), {}
    )
    app = {**_app("ap-2", "job"), "description": sealed["kept_apps.description/ap-2"]}
    calls.ADD_APP.apply(connection, [app])
    plain = _call("c2")
    calls.ADD_CALL.apply(connection, [_call("c1", variant=sealed["calls.variant/c1"]), plain])


def _open_all(session: Session, sealer: Sealer) -> None:
    """Every value can be read."""
    sealed = session.run(sealed_values)
    assert {place: sealer.open(place, value) for place, value in sealed.items()} == PLACES


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(Keyring(str(tmp_path)))


@pytest.fixture
def session(opened: Callable[..., Session], sealer: Sealer) -> Session:
    made = opened(partial(database.bring_up_to_date, sealer=sealer))
    made.run(lambda connection: _fill(connection, sealer))
    return made


def test_all_is_sealed_with_the_new_key_and_needs_the_old_one_no_more(
    session: Session, sealer: Sealer, tmp_path: Path
):
    old, new = sealer.keyring.current(), new_key()
    assert session.run(anew.keys_in_use) == {old.key_id}
    sealer.keyring.begin(new)
    told = session.run(lambda one: anew.seal_anew(one, sealer))
    assert (told.count, told.broken) == (3, 0)
    assert session.run(anew.keys_in_use) == {new.key_id}
    sealer.keyring.keep(new)
    _open_all(session, Sealer(Keyring(str(tmp_path))))
    assert session.run(lambda one: anew.seal_anew(one, sealer)).count == 0


@pytest.mark.parametrize("killed", ["with two keys", "in the transaction", "ahead of forgetting"])
def test_a_kill_leaves_a_readable_state_that_is_gone_on_from(
    killed: str, session: Session, sealer: Sealer, tmp_path: Path
):
    new = new_key()
    sealer.keyring.begin(new)

    def broken_off(connection: Connection) -> None:
        anew.seal_anew(connection, sealer)
        raise KeyboardInterrupt

    if killed == "in the transaction":
        with pytest.raises(KeyboardInterrupt):
            session.run(broken_off)
    elif killed == "ahead of forgetting":
        session.run(lambda one: anew.seal_anew(one, sealer))
    later = Sealer(Keyring(str(tmp_path)))  # of the next daemon
    _open_all(session, later)
    assert len(later.keyring.all()) == 2
    session.run(lambda one: anew.seal_anew(one, later))
    later.keyring.keep(new)
    _open_all(session, Sealer(Keyring(str(tmp_path))))


def test_a_value_that_was_moved_to_another_row_stays_and_is_told(session: Session, sealer: Sealer):
    def swap(connection: Connection) -> None:
        connection.execute(text(
            "UPDATE kept_apps SET description = (SELECT description FROM versions)"
        ))  # fmt: skip

    session.run(swap)
    sealer.keyring.begin(new_key())
    told = session.run(lambda one: anew.seal_anew(one, sealer))
    assert (told.count, told.broken) == (2, 1)


def test_a_lost_key_changes_nothing(session: Session, sealer: Sealer, tmp_path: Path):
    old = sealer.keyring.current()
    (tmp_path / "sealing.key").unlink()
    other = Sealer(Keyring(str(tmp_path)))
    other.keyring.current()
    with pytest.raises(DataLossError, match=old.key_id):
        session.run(lambda one: anew.seal_anew(one, other))
    assert session.run(anew.keys_in_use) == {old.key_id}
