"""Statements that are executed so often that what SQLAlchemy does around them would be felt.

On SQLite that is four times what the statement itself takes; there the driver gets it. What it
takes on PostgreSQL is lost in the round trip to the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    Values = Mapping[str, object]


class OftenUsed:
    """One statement in the words of both databases, with values as `:name`.

    Errors are those of SQLAlchemy on PostgreSQL, and `sqlite3.Error` on SQLite.
    """

    def __init__(self, words: str) -> None:
        self.words = words
        self._text = text(words)

    def for_each(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Execute it for each of some values."""
        driver = _driver(connection)
        if driver is None:
            connection.execute(self._text, rows)
        else:
            driver.executemany(self.words, rows)

    def changed(self, connection: Connection, values: Values) -> int:
        """Execute it; how many rows it has changed."""
        driver = _driver(connection)
        if driver is None:
            return connection.execute(self._text, values).rowcount
        count: int = driver.execute(self.words, values).rowcount
        return count

    def found(self, connection: Connection, values: Values) -> Sequence[Sequence[Any]]:
        """Execute it; the rows that it finds."""
        driver = _driver(connection)
        if driver is None:
            return connection.execute(self._text, values).all()
        rows: list[tuple[Any, ...]] = driver.execute(self.words, values).fetchall()
        return rows


def _driver(connection: Connection) -> Any:
    """The driver's own connection to SQLite; None for another database."""
    if connection.dialect.name != "sqlite":
        return None
    return connection.connection.driver_connection
