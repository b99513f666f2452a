"""Functions, maps, a class, objects with names and errors, as a program for Modal has them."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import modal
from modal.exception import FunctionTimeoutError, NotFoundError

app = modal.App("words", tags={"kind": "unchanged"})
volume = modal.Volume.from_name("words-kept", create_if_missing=True)


@app.function(retries=modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0))
def count(text: str) -> dict[str, int]:
    return dict(collections.Counter(text.split()))


@app.function()
@modal.concurrent(max_inputs=4)
async def shout(word: str, mark: str) -> str:
    return word.upper() + mark


@app.function(timeout=1)
def endless() -> None:
    while True:
        os.sched_yield()


@app.function()
def numbers(stop: int):
    yield from range(stop)


@app.function(volumes={"/kept": volume})
def keep(name: str, text: str) -> str:
    path = Path("/kept") / name
    path.write_text(text)
    volume.commit()
    return os.environ["MODAL_TASK_ID"]


@app.function(secrets=[modal.Secret.from_dict({"TOKEN": "t0p"})])
def surroundings(seen: modal.Dict, done: modal.Queue) -> bool:
    seen["token"] = os.environ["TOKEN"]
    seen["remote"] = not modal.is_local() and os.environ["MODAL_IS_REMOTE"] == "1"
    seen["environment"] = os.environ["MODAL_ENVIRONMENT"]
    done.put(modal.current_function_call_id()[:3])
    return isinstance(seen, modal.Dict) and isinstance(done, modal.queue.Queue)


@app.cls(scaledown_window=30)
class Scorer:
    weight: int = modal.parameter(default=1)

    @modal.enter()
    def load(self) -> None:
        self.scale = self.weight * 10

    @modal.method()
    def score(self, word: str) -> int:
        return len(word) * self.scale


@app.local_entrypoint()
def main(text: str = "to be or not to be", repeat: int = 1) -> None:
    print("counts", count.remote(text)["be"] * repeat)
    print("maps", list(shout.starmap([("a", "!"), ("b", "?")])))
    print("generates", list(numbers.remote_gen(3)))
    print("classes", Scorer(weight=2).score.remote("four"), Scorer().score.remote("four"))
    print("spawns", modal.FunctionCall.gather(count.spawn("x"), count.spawn("y y")))
    with modal.Dict.ephemeral() as seen, modal.Queue.ephemeral() as done:
        print("travels", surroundings.remote(seen, done), done.get(), sorted(seen.items()))
    print("is a container", keep.remote("poem.txt", text).startswith("ta-"))
    print("reads", b"".join(volume.read_file("poem.txt")).decode())
    try:
        endless.remote()
    except FunctionTimeoutError as error:
        print("times out", isinstance(error, TimeoutError))
    try:
        modal.Function.from_name("nowhere", "nothing").remote()
    except NotFoundError as error:
        print("says", str(error).partition(":")[0])
