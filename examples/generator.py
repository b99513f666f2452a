"""Results that arrive one by one, while the function still runs.

$ volant run examples/generator.py
27 82 41 124 62 31 94 47 142 71 ... 10 5 16 8 4 2 1
112 values; the first one came before the last one was made: True
"""

import time
from collections.abc import Iterator

import volant

app = volant.App("generator")


@app.function()
def collatz(number: int) -> Iterator[tuple[int, float]]:
    """Halve even numbers, make 3n + 1 of odd ones, until 1; with the time of each."""
    while True:
        yield number, time.time()
        if number == 1:
            break
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        time.sleep(0.001)


@app.local_entrypoint()
def main(start: int = 27) -> None:
    values = []
    first_came = 0.0
    for value, made in collatz.remote_gen(start):
        first_came = first_came or time.time()
        last_made = made
        values.append(str(value))
    shown = values if len(values) <= 17 else [*values[:10], "...", *values[-7:]]
    print(*shown)
    print(
        f"{len(values)} values; the first one came before the last one was made:",
        first_came < last_made,
    )
