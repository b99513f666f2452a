"""An error in a container: its own type, the remote frames and their source lines.

    $ volant run examples/exception.py
    caught a BadRow: row 2: 'thirty' is no number
    Traceback (most recent call last):
      ...
      File "examples/exception.py", line 35, in total
        return sum(parse(number, text) for number, text in enumerate(rows, 1))
      ...
      File "examples/exception.py", line 30, in parse
        raise BadRow(f"row {number}: {text!r} is no number") from error
    exception.BadRow: row 2: 'thirty' is no number

and the exit code is 1.
"""

import volant

app = volant.App("exception")


class BadRow(ValueError):
    """An exception of our own, which containers know from this very file."""


def parse(number: int, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BadRow(f"row {number}: {text!r} is no number") from error


@app.function()
def total(rows: list[str]) -> int:
    return sum(parse(number, text) for number, text in enumerate(rows, 1))


@app.local_entrypoint()
def main() -> None:
    try:
        total.remote(["12", "thirty", "9"])
    except BadRow as error:
        print(f"caught a {type(error).__name__}: {error}")
    total.remote(["12", "thirty", "9"])  # and this one is not caught
