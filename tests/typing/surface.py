"""What type checkers must see of the public surface. Never imported: only checked.

A wrong type here is a bug of the stubs a user's editor lives by, so every line is an assertion.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

app = volant.App("types")


@app.function(timeout=10)
def add(x: int, y: int = 0) -> str:
    return str(x + y)


@app.function()
async def add_async(x: int) -> float:
    return float(x)


@app.function()
def count(upto: int) -> Generator[int, None, None]:
    yield from range(upto)


@app.function()
def count_plainly(upto: int) -> Iterator[bytes]:
    yield bytes(upto)


@app.function()
async def count_async(upto: int) -> AsyncGenerator[str, None]:
    yield str(upto)


@app.function()
@volant.concurrent(max_inputs=10, target_inputs=5)
def side_by_side(x: int, *, fast: bool = False) -> str:
    return str(x)


@app.function()
@volant.concurrent(max_inputs=10)
async def side_by_side_async(x: int) -> bytes:
    return bytes(x)


@app.function()
@volant.batched(max_batch_size=8, wait_ms=10)
def double(values: list[int]) -> list[str]:
    return [str(2 * value) for value in values]


@app.function()
@volant.batched(max_batch_size=8, wait_ms=10)
async def double_async(values: list[int]) -> list[float]:
    return [2.0 * value for value in values]


@app.function()
@volant.batched(max_batch_size=8, wait_ms=10)
def join(left: list[str], right: list[int]) -> list[bytes]:
    return [f"{a}{b}".encode() for a, b in zip(left, right, strict=True)]


@app.function()
@volant.fastapi_endpoint(method="POST", docs=True)
def create(name: str, count: int = 1) -> list[str]:
    return [name] * count


@app.function()
@volant.concurrent(max_inputs=10)
@volant.fastapi_endpoint()
async def ask_endpoint(question: str) -> bytes:
    return question.encode()


@app.function()
@volant.asgi_app(label="whole")
@volant.concurrent(max_inputs=10)
def whole() -> Path:
    raise NotImplementedError


@app.function()
@volant.web_server(8000, startup_timeout=10, requires_proxy_auth=True)
def serve() -> None: ...


@app.cls()
class Answering:
    @volant.fastapi_endpoint()
    def read(self, last: int = 1) -> list[int]:
        return [last]

    @volant.wsgi_app(custom_domains=["example.com"])
    def web(self) -> Path:
        return self.web.local()


class Inherited:
    @volant.method()
    def hello(self) -> str:
        return "hello"


@app.cls(enable_memory_snapshot=True)
@volant.concurrent(max_inputs=10)
class Model(Inherited):
    size: int = volant.parameter(default=1)

    @volant.enter(snap=True)
    def load(self) -> None:
        self.weights = [0.5] * self.size

    @volant.enter()
    async def warm(self) -> None: ...

    @volant.exit()
    def close(self) -> None: ...

    @volant.method()
    def ask(self, x: int, *, fast: bool = False) -> str:
        assert_type(self.size, int)
        assert_type(self.weights, list[float])
        assert_type(self.ask.local(x), str)
        assert_type(self.count.remote_gen(x), Iterator[int])
        return str(x)

    @volant.method()
    async def ask_async(self, x: int) -> float:
        return float(x)

    @volant.method()
    def count(self, upto: int) -> Iterator[int]:
        yield from range(upto)

    @volant.method()
    async def count_async(self, upto: int) -> AsyncIterator[str]:
        yield str(upto)


@app.cls()
class Batched:
    @volant.batched(max_batch_size=8, wait_ms=10)
    def double(self, values: list[int]) -> list[str]:
        return [str(2 * value) for value in values]


@app.cls()
class BatchedAsync:
    @volant.batched(max_batch_size=8, wait_ms=10)
    async def double(self, values: list[int]) -> list[bytes]:
        return [bytes(value) for value in values]


@app.local_entrypoint()
def main(name: str) -> None:
    print(name)


def images(path: Path) -> None:
    base = volant.Image.debian_slim("3.12")
    assert_type(base, volant.Image)
    assert_type(volant.Image.from_registry("ubuntu", add_python="3.12"), volant.Image)
    assert_type(volant.Image.from_dockerfile(path, context_dir=path), volant.Image)
    assert_type(base.pip_install("a", ["b"], pre=True).apt_install("c"), volant.Image)
    assert_type(base.uv_pip_install(requirements=["r.txt"]).uv_sync(path), volant.Image)
    assert_type(base.env({"A": "1"}).workdir(path).entrypoint(["a"]).cmd([]), volant.Image)
    assert_type(base.run_function(add.local, args=(1,), kwargs={"y": 2}), volant.Image)
    assert_type(base.add_local_dir(path, "/a", ignore=lambda file: file.is_dir()), volant.Image)
    matcher = ~volant.FilePatternMatcher("**/*.py", "!a.py").with_repr("X")
    assert_type(matcher, volant.FilePatternMatcher)
    assert_type(matcher(path), bool)
    assert_type(base.add_local_python_source("a", ignore=matcher, copy=True), volant.Image)
    assert_type(base.pipe(with_tools, "a"), volant.Image)
    assert_type(base.pipe(repr), str)
    assert_type(base.hydrate(), volant.Image)
    with base.imports():
        pass
    base.pip_install(3)  # type: ignore[arg-type]
    base.env({"A": 1})  # type: ignore[dict-item]
    base.entrypoint("a")  # type: ignore[arg-type]
    base.pip_install("a", indx_url="b")  # type: ignore[call-arg]
    volant.Image.debian_slim(3.12)  # type: ignore[arg-type]


def with_tools(image: volant.Image, *more: str) -> volant.Image:
    return image.apt_install("git", *more)


def classes() -> None:
    model = Model()
    assert_type(model, Model)
    assert_type(model.size, int)
    assert_type(model.ask.remote(1, fast=True), str)
    assert_type(model.ask.local(1), str)
    assert_type(model.ask.spawn(1), volant.FunctionCall[str])
    assert_type(model.ask.map([1, 2]), Iterator[str])
    assert_type(model.ask_async.remote(1), float)
    assert_type(model.count.remote_gen(3), Iterator[int])
    assert_type(model.count_async.remote_gen(3), Iterator[str])
    assert_type(model.hello.remote(), str)
    assert_type(model.ask.with_options(memory=256).remote(1), str)
    model.ask.remote("1")  # type: ignore[arg-type]
    model.ask.remote()  # type: ignore[call-arg]
    model.load.remote()  # type: ignore[attr-defined]
    volant.enter(snap=1)  # type: ignore[arg-type]
    app.cls(timeut=3)  # type: ignore[call-arg]


def batches() -> None:
    assert_type(double.remote(1), str)
    assert_type(double.map([1, 2]), Iterator[str])
    assert_type(double_async.remote(1), float)
    assert_type(join.remote("a", 1), bytes)
    assert_type(Batched().double.remote(1), str)
    assert_type(Batched().double.spawn(1), volant.FunctionCall[str])
    assert_type(BatchedAsync().double.remote(1), bytes)
    double.remote([1])  # type: ignore[arg-type]
    join.remote("a", "b")  # type: ignore[arg-type]
    Batched().double.remote("a")  # type: ignore[arg-type]
    volant.batched(max_batch_size="8", wait_ms=10)  # type: ignore[arg-type]


def variants() -> None:
    assert_type(add.with_options(memory=256, retries=2).remote(1), str)
    assert_type(add.with_concurrency(max_inputs=4).remote(1), str)
    assert_type(double.with_batching(max_batch_size=4, wait_ms=1).remote(1), str)
    add.with_options(memory="256")  # type: ignore[arg-type]
    add.with_options(memry=256)  # type: ignore[call-arg]


def calls() -> None:
    assert_type(add.remote(1, y=2), str)
    assert_type(add.local(1), str)
    assert_type(add.spawn(1), volant.FunctionCall[str])
    assert_type(add.spawn(1).get(timeout=3), str)
    assert_type(add.map([1, 2]), Iterator[str])
    assert_type(add.starmap([(1, 2)]), Iterator[str])
    assert_type(add.spawn_map([1]), None)
    assert_type(add.experimental_spawn_map([1]), volant.FunctionCall[str])
    assert_type(add.experimental_spawn_map([1]).iter(start=1), Iterator[str])
    assert_type(add.spawn(1).num_inputs(), int)
    assert_type(volant.FunctionCall.gather(add.spawn(1), add.spawn(2)), list[str])
    assert_type(add.hydrate().remote(1), str)
    assert_type(add_async.remote(1), float)
    assert_type(count.remote_gen(3), Iterator[int])
    assert_type(count_plainly.remote_gen(3), Iterator[bytes])
    assert_type(count_async.remote_gen(3), Iterator[str])
    assert_type(side_by_side.remote(1, fast=True), str)
    assert_type(side_by_side.local(1), str)
    assert_type(side_by_side.map([1, 2]), Iterator[str])
    assert_type(side_by_side_async.remote(1), bytes)
    assert_type(create.local("x", count=2), list[str])
    assert_type(whole.local(), Path)
    assert_type(serve.local(), None)
    assert_type(whole.get_web_url(), str | None)
    assert_type(Answering().read.local(last=2), list[int])
    assert_type(Answering().web.get_web_url(), str | None)
    assert_type(app.registered_web_endpoints, list[str])
    side_by_side.remote("1")  # type: ignore[arg-type]
    volant.concurrent(max_inputs="1")  # type: ignore[arg-type]
    add.remote("1")  # type: ignore[arg-type]
    add.remote(1, z=2)  # type: ignore[call-arg]
    add.remote()  # type: ignore[call-arg]
    add.spawn(x="a")  # type: ignore[arg-type]
    app.function(timeut=3)  # type: ignore[call-arg]


async def calls_async() -> None:
    assert_type(await add.remote.aio(1), str)
    assert_type(await ask_endpoint.local("x"), bytes)
    assert_type(await create.get_web_url.aio(), str | None)
    assert_type(await add.spawn.aio(1), volant.FunctionCall[str])
    coroutine = add_async.local(1)
    assert_type(await coroutine, float)
    assert_type(add.map.aio([1]), AsyncIterator[str])
    assert_type(count.remote_gen.aio(3), AsyncIterator[int])
    assert_type(await add.spawn(1).get.aio(), str)
    assert_type(await add.experimental_spawn_map.aio([1]), volant.FunctionCall[str])
    assert_type(add.spawn(1).iter.aio(), AsyncIterator[str])
    await add.remote.aio("1")  # type: ignore[arg-type]


def objects() -> None:
    entries = volant.Dict.from_name("index", create_if_missing=True)
    line = volant.Queue.from_id("qu-1")
    assert_type(entries, volant.Dict)
    assert_type(entries.put("a", 1, skip_if_exists=True), bool)
    assert_type(entries.update({"a": 1}, b=2), None)
    assert_type(entries.contains("a"), bool)
    assert_type("a" in entries, bool)
    assert_type(entries.len(), int)
    assert_type(entries.hydrate(), volant.Dict)
    assert_type(entries.info().created_by, str)
    assert_type(volant.Dict.objects.list(max_objects=3), list[volant.Dict])
    assert_type(volant.Queue.objects.delete("a", allow_missing=True), None)
    assert_type(line.len(total=True), int)
    assert_type(line.put_many([1, 2], timeout=3, partition="a"), None)
    with volant.Queue.ephemeral() as made:
        assert_type(made, volant.Queue)
    for key in entries.keys():  # noqa: SIM118  # it is no mapping
        entries.pop(key)
    entries.put("a")  # type: ignore[call-arg]
    entries.put("a", 1, skip=True)  # type: ignore[call-arg]
    line.get(timeout="3")  # type: ignore[arg-type]


async def objects_async(entries: volant.Dict, line: volant.Queue) -> None:
    assert_type(await entries.put.aio("a", 1), bool)
    assert_type(await line.len.aio(partition="a"), int)
    assert_type(await line.hydrate.aio(), volant.Queue)
    assert_type(await volant.Dict.objects.list.aio(), list[volant.Dict])
    async with volant.Dict.ephemeral() as made:
        assert_type(made, volant.Dict)
    async for _ in line.iterate.aio(item_poll_timeout=1.0):
        pass
    await entries.put.aio("a")  # type: ignore[call-arg]
