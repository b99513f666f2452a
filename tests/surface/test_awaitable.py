"""Every public callable that asks the hub has the twin `.aio`, and the exceptions are these."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant.errors import ClientClosed, InvalidError
from volant.sdk.planned import Former, Planned

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("awaitable")


@app.function()
def function(value: int = 0) -> int:
    return value


@app.cls()
class Kept:
    @volant.method()
    def answer(self) -> int:
        return 42


@app.server()
class Page:
    @volant.enter()
    def start(self) -> None: ...


cluster = volant.Cluster({"id": "cu-1", "rank": 1, "addresses": ["127.0.0.2", "127.0.0.3"],
                          "containers": ["ta-1", "ta-2"]})  # fmt: skip
sandbox = volant.Sandbox("sb-01h2x9f1m3q7w8r4t6y0z2b4c6")

#: Kind -> a handle of it.
HANDLES: dict[str, Any] = {
    "App": app, "Client": volant.Client(), "Cls": Kept, "Cluster": cluster,
    "Dict": volant.Dict.from_name("awaitable"),
    "Environment": volant.Environment.from_name("awaitable"), "Function": function,
    "FunctionCall": volant.FunctionCall("fc-86sn29kdn6bvd1k70000000003"),
    "Image": volant.Image.host(), "Queue": volant.Queue.from_name("awaitable"),
    "Sandbox": sandbox, "SandboxSnapshot": volant.SandboxSnapshot("sn-1"),
    "Secret": volant.Secret.from_name("awaitable"), "Server": Page,
    "Volume": volant.Volume.from_name("awaitable"),
}  # fmt: skip
#: Managers of them, by what they are reached as.
MANAGERS: dict[str, Any] = {
    "Dict.objects": volant.Dict.objects, "Queue.objects": volant.Queue.objects,
    "Secret.objects": volant.Secret.objects, "Volume.objects": volant.Volume.objects,
    "Environment.objects": volant.Environment.objects,
    "Environment.apps": HANDLES["Environment"].apps,
    "Function.autoscaler": function.autoscaler, "Server.autoscaler": Page.autoscaler,
    "Server.sessions": Page.sessions, "Function.logs": function.logs, "App.logs": app.logs,
    "Server.logs": Page.logs, "FunctionCall.logs": HANDLES["FunctionCall"].logs,
    "Sandbox.logs": sandbox.logs, "Image.logs": HANDLES["Image"].logs,
    "Sandbox.filesystem": sandbox.filesystem,
}  # fmt: skip
#: What only describes, or runs where it is called: plain functions.
ASKS_NOBODY = {
    "App": {"cls", "function", "include", "local_entrypoint", "server", "set_description"},
    "Client": {"is_closed"},
    "Cls": {"from_name", "with_batching", "with_concurrency", "with_options"},
    "Dict": {"from_id", "from_name"},
    "Environment": {"from_context", "from_name"},
    "Function": {
        "from_id", "from_name", "get_raw_f", "local", "with_batching", "with_concurrency",
        "with_idempotency_key", "with_options",
    },
    "Image": {
        "add_local_dir", "add_local_file", "add_local_python_source", "apt_install", "cmd",
        "debian_slim", "dockerfile_commands", "entrypoint", "env", "from_dockerfile", "from_name",
        "from_registry", "from_aws_ecr",
        "from_gcp_artifact_registry", "from_scratch", "host", "imports", "micromamba",
        "micromamba_install",
        "pip_install", "pip_install_from_pyproject", "pip_install_from_requirements",
        "pip_install_private_repos", "pipe", "poetry_install_from_file", "run_commands",
        "run_function", "shell", "uv_pip_install", "uv_sync", "workdir",
    },
    "Queue": {"from_id", "from_name"},
    "Secret": {
        "ephemeral", "from_dict", "from_dotenv", "from_id", "from_local_environ", "from_name",
    },
    "Server": {"from_id", "from_name"},
    "Volume": {"from_id", "from_name", "read_only", "with_mount_options"},
}  # fmt: skip
#: Parts of the package that others of it call.
MACHINERY = {"build_modules", "described", "serve", "to_wire"}


def _plain(owner: Any) -> Iterator[str]:
    """Public callables of a handle or manager that lack the twin."""
    for name in dir(owner):
        if (name.startswith("_") and not name.startswith("_experimental")) or name in MACHINERY:
            continue
        found = inspect.getattr_static(owner, name)
        if isinstance(found, (Former, Planned)):
            continue
        found = getattr(owner, name)
        if callable(found) and not isinstance(found, type) and not hasattr(found, "aio"):
            yield name


@pytest.mark.parametrize("kind", HANDLES)
def test_what_asks_the_hub_can_be_awaited(kind: str) -> None:
    assert set(_plain(HANDLES[kind])) == ASKS_NOBODY.get(kind, set())


@pytest.mark.parametrize("kind", MANAGERS)
def test_what_managers_do_can_be_awaited(kind: str) -> None:
    assert list(_plain(MANAGERS[kind])) == []


def test_blocks_are_begun_either_way() -> None:
    """Behaviour of the reference: `async with X()` and `async with X.aio()` alike."""
    begun = [
        volant.Dict.ephemeral.aio(), volant.Queue.ephemeral.aio(), volant.forward.aio(8000),
        volant.Volume.ephemeral.aio(version=2), app.run.aio(), volant.Dict.ephemeral(),
        HANDLES["Volume"].batch_upload.aio(), volant.forward(8000), app.run(),
    ]  # fmt: skip
    for block in begun:
        assert hasattr(block, "__aenter__") and hasattr(block, "__enter__")


def test_handles_are_made_of_ids_either_way() -> None:
    call_id, image_id = "fc-86sn29kdn6bvd1k70000000003", "im-6f1c2a9be07d4412aa93ce"

    async def made() -> list[object]:
        return [
            await volant.FunctionCall.from_id.aio(call_id),
            await volant.Image.from_id.aio(image_id),
        ]

    call, image = asyncio.run(made())
    assert repr(call) == repr(volant.FunctionCall.from_id(call_id))
    assert isinstance(image, volant.Image)
    assert volant.Dict.from_id(dict_id="di-1").object_id == "di-1"
    assert volant.Volume.from_id("vo-1").is_hydrated
    with pytest.raises(TypeError, match="takes one id, as `object_id` or `queue_id`"):
        volant.Queue.from_id(dict_id="qu-1")


@pytest.mark.parametrize("kind", HANDLES)
def test_every_handle_has_what_all_have(kind: str) -> None:
    """Its client, whether it is known, and an address once it is."""
    handle = HANDLES[kind]
    if kind == "Client":
        return
    assert handle.client is volant.Client.from_env()
    assert handle.is_hydrated == (handle.object_id is not None)
    if handle.is_hydrated:
        address = f"volant:{handle.object_id}"
        assert handle.get_dashboard_url() == asyncio.run(handle.get_dashboard_url.aio()) == address
    else:
        with pytest.raises(volant.errors.ExecutionError, match="has no id yet"):
            handle.get_dashboard_url()


def test_a_client_is_taken_wherever_one_may_be_given() -> None:
    client = volant.Client.from_credentials("ak-1", "as-1")
    assert volant.Dict.from_name("x", client=client).name == "x"
    assert volant.Function.from_name("app", "f", client=client).name == "f"
    with pytest.raises(InvalidError, match=r"must be a volant\.Client, got 'me'"):
        volant.Queue.from_name("x", client="me")  # type: ignore[arg-type]  # which is refused
    with client:
        pass
    assert client.is_closed()
    with pytest.raises(ClientClosed, match="was closed"):
        volant.Dict.from_name("x", client=client)


def test_a_closed_client_is_followed_by_another() -> None:
    first = volant.Client.from_env()
    assert volant.Client.from_env() is first
    asyncio.run(first.close.aio())
    assert volant.Client.from_env() is not first


def test_a_token_of_an_account_is_text() -> None:
    with pytest.raises(InvalidError, match="a token is two texts, and one is of type NoneType"):
        volant.Client.from_credentials("ak-1", None)  # type: ignore[arg-type]  # which is refused


def test_a_cluster_tells_who_is_in_it() -> None:
    assert cluster.container_ids() == ["ta-1", "ta-2"]
    assert cluster.container_ips() == ["::ffff:127.0.0.2", "::ffff:127.0.0.3"]
    assert cluster.container_ips(family="ipv4") == ["127.0.0.2", "127.0.0.3"]
    assert cluster.container_rank() == 1
    assert asyncio.run(cluster.container_rank.aio("ta-1")) == 0
    with pytest.raises(volant.errors.NotFoundError, match="'ta-9' is no container of cluster cu-1"):
        cluster.container_rank("ta-9")
    with pytest.raises(InvalidError, match="family must be"):
        cluster.container_ips("ipx")
    with pytest.raises(volant.errors.ExecutionError, match=r"Cluster\.from_context\(\) only means"):
        volant.Cluster.from_context()


def test_what_a_local_entrypoint_was_made_of_is_told() -> None:
    def main(name: str = "ada") -> None: ...

    made = volant.App("entry").local_entrypoint()(main)
    assert made.info.raw_f is main
    assert made.info.module_name == __name__


def test_a_matcher_tells_its_patterns() -> None:
    matcher = volant.FilePatternMatcher("**/*.py", "docs")
    assert matcher.patterns == ("**/*.py", "docs")
    assert matcher.can_prune_directories()
    assert not volant.FilePatternMatcher("docs", "!docs/a").can_prune_directories()
    assert not (~matcher).can_prune_directories()


def test_a_probe_tells_what_it_looks_at() -> None:
    probe = volant.Probe.with_tcp(8080, interval_ms=250)
    assert (probe.tcp_port, probe.exec_argv, probe.interval_ms) == (8080, None, 250)
    assert volant.Probe.with_exec("test", "-f", "/ready").exec_argv == ("test", "-f", "/ready")
