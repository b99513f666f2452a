"""What type checkers see of a program that says `import modal`: the same as of `import volant`."""

from __future__ import annotations

from typing import assert_type

import modal

app = modal.App("unchanged", image=modal.Image.debian_slim())


@app.function(retries=modal.Retries(max_retries=2))
def shown(number: int) -> str:
    return str(number)


def ask() -> None:
    assert_type(shown.remote(1), str)
    try:
        assert_type(shown.spawn(1), modal.FunctionCall[str])
    except modal.exception.NotFoundError as error:
        assert_type(error.message, str)
