"""Functions defined in unusual ways."""

from __future__ import annotations

import volant

app = volant.App("defining")
FACTOR = 3


@app.function(name="another-name")
def plain_name(value: int) -> int:
    return value + 1


def not_decorated_at_once(value: int) -> int:
    return value + 2


decorated_later = app.function()(not_decorated_at_once)


@app.function(serialized=True)
def pickled(value: int) -> int:
    return FACTOR * value


config = {"timeout": 60, "retries": 0}


@app.function(**config)  # type: ignore[arg-type]  # as users write it
def from_dictionary(value: int) -> int:
    return -value


if __name__ == "__main__":
    with app.run():
        print(plain_name.remote(1))
