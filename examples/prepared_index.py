"""An index that is made while the image is built, so that each call only has to open it.

$ volant run examples/prepared_index.py
greatest common divisor: math.gcd
a random sample without repeats: random.sample
the middle value of data: statistics.median
least recently used: functools.lru_cache
opened and asked within 0.1 s: True
"""

import importlib
import inspect
import sqlite3
import time

import volant

INDEX = "/index.db"
MODULES = ("calendar", "functools", "math", "random", "statistics", "textwrap")


def index(modules: tuple[str, ...]) -> None:
    """Make a full-text index of what functions of some modules say of themselves."""
    with sqlite3.connect(INDEX) as database:
        database.execute("CREATE VIRTUAL TABLE said USING fts5(name, text, tokenize = porter)")
        for module in map(importlib.import_module, modules):
            found = inspect.getmembers(module, inspect.isroutine)
            rows = [(f"{module.__name__}.{name}", inspect.getdoc(one)) for name, one in found]
            database.executemany("INSERT INTO said VALUES (?, ?)", rows)


# Other modules make another index: the arguments are part of what the step is known by.
image = volant.Image.debian_slim().run_function(index, args=(MODULES,))
app = volant.App("prepared-index", image=image)


@app.function()
def search(words: str) -> tuple[str, float]:
    """The function that fits best, and the seconds that it took to find it."""
    started = time.perf_counter()
    with sqlite3.connect(f"file:{INDEX}?mode=ro", uri=True) as database:
        best = "SELECT name FROM said WHERE said MATCH ? ORDER BY rank LIMIT 1"
        (name,) = database.execute(best, [" OR ".join(words.split())]).fetchone()
    return name, time.perf_counter() - started


@app.local_entrypoint()
def main() -> None:
    asked = ["greatest common divisor", "a random sample without repeats"]
    asked += ["the middle value of data", "least recently used"]
    answers = list(search.map(asked))
    for words, (name, _) in zip(asked, answers, strict=True):
        print(f"{words}: {name}")
    print(f"opened and asked within 0.1 s: {max(taken for _, taken in answers) < 0.1}")
