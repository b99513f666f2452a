"""Every name and keyword of the programming model: each works, or says itself that it does not yet.

The lists are those of the reference, section 1 to 3. A feature that arrives moves its names from
the planned ones to those that work.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import operator
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant.errors import DeprecationError, UnimplementedError
from volant.sdk import options
from volant.sdk.planned import Planned

if TYPE_CHECKING:
    from collections.abc import Mapping

app = volant.App("surface")


@app.function()
def function(value: int = 0) -> int:
    return value


@app.cls()
class Kept:
    @volant.method()
    def answer(self) -> int:
        return 42


#: What `from volant import *` gives: what works.
PUBLIC = [
    "App", "Client", "CloudBucketMount", "Cls", "Cluster", "Cron", "Dict", "Environment", "Error",
    "FilePatternMatcher",
    "Function", "FunctionCall", "Image", "Period", "Probe", "Queue", "Retries", "Sandbox",
    "SandboxSnapshot", "Secret", "Server", "Tunnel", "Volume", "__version__", "asgi_app", "batched",
    "clustered", "concurrent",
    "current_function_call_id", "current_input_id", "enable_output", "enter", "exit",
    "fastapi_endpoint", "forward", "interact", "is_local", "method", "parameter", "sessioned",
    "web_server", "wsgi_app",
]  # fmt: skip
PLANNED_NAMES = [
    "NetworkFileSystem", "Proxy",
    "SchedulerPlacement", "Workspace",
]  # fmt: skip
#: Public modules -> a name that each has in the model.
MODULES = {"billing": "report", "experimental": "get_fabric_peers", "types": "SchedulerPlacement"}

#: Object -> (names that work, names that are planned).
MEMBERS: dict[str, tuple[object, list[str], list[str]]] = {
    "App": (
        app,
        [
            "name", "app_id", "description", "run", "function", "local_entrypoint", "include",
            "set_tags", "get_tags", "registered_functions", "registered_entrypoints",
            "registered_web_endpoints", "cls", "server", "lookup", "deploy", "stop", "info",
            "logs", "image", "client", "get_dashboard_url", "object_id", "set_description",
            "registered_classes",
        ],
        ["stats", "sandboxes"],
    ),
    "Function": (
        function,
        [
            "remote", "remote_gen", "local", "spawn", "map", "starmap", "for_each", "spawn_map",
            "experimental_spawn_map", "app", "object_id", "hydrate", "from_name",
            "with_options", "with_concurrency", "with_batching", "update_autoscaler",
            "with_idempotency_key",
            "autoscaler", "get_current_stats", "from_id", "get_web_url", "get_raw_f", "logs",
            "client", "get_dashboard_url", "info",
        ],
        ["stats", "metrics"],
    ),
    "Cls": (
        Kept,
        [
            "with_options", "with_concurrency", "with_batching", "object_id", "hydrate",
            "from_name",
        ],
        [],
    ),
    "FunctionCall": (
        volant.FunctionCall("fc-86sn29kdn6bvd1k70000000003"),
        ["from_id", "get", "iter", "num_inputs", "cancel", "gather", "object_id", "hydrate",
         "get_call_graph", "logs", "client", "get_dashboard_url"],
        [],
    ),
    "Dict": (
        volant.Dict.from_name("surface"),
        [
            "get", "put", "update", "pop", "contains", "len", "keys", "values", "items", "clear",
            "info", "from_name", "from_id", "ephemeral", "objects", "name", "object_id", "hydrate",
            "client", "get_dashboard_url", "delete",
        ],
        [],
    ),
    "Environment": (
        volant.Environment.from_name("surface"),
        ["from_name", "from_context", "objects", "apps", "name", "hydrate", "info",
         "client", "get_dashboard_url"],
        ["billing", "roles"],
    ),
    "Queue": (
        volant.Queue.from_name("surface"),
        [
            "put", "put_many", "get", "get_many", "len", "iterate", "clear", "info", "from_name",
            "from_id", "ephemeral", "objects", "name", "object_id", "hydrate",
            "client", "get_dashboard_url", "delete",
        ],
        [],
    ),
    "Image": (
        volant.Image.host(),
        [
            "host", "debian_slim", "from_registry", "from_dockerfile", "micromamba",
            "from_scratch", "from_id", "from_name", "pip_install", "uv_pip_install", "uv_sync",
            "pip_install_from_requirements", "pip_install_from_pyproject",
            "pip_install_private_repos", "poetry_install_from_file", "micromamba_install",
            "apt_install", "run_commands", "dockerfile_commands", "run_function", "env",
            "workdir", "shell", "entrypoint", "cmd", "add_local_file", "add_local_dir",
            "add_local_python_source", "imports", "pipe", "hydrate",
            "build", "publish", "logs", "object_id", "client", "get_dashboard_url",
        ],
        [],
    ),
}  # fmt: skip

#: Keyword of `@app.function` -> a value that it takes.
KEYWORDS: dict[str, object] = {
    "secrets": [volant.Secret.from_dict({"A": "1"})],
    "image": volant.Image.host(), "env": {"KEY": "value"}, "cpu": (0.5, 2.0), "memory": 256,
    "timeout": 60, "startup_timeout": 30, "retries": 3, "min_containers": 1,
    "max_containers": 2, "buffer_containers": 1, "scaledown_window": 5,
    "single_use_containers": True, "block_network": True, "serialized": True,
    "include_source": True, "name": "another", "is_generator": False,
    "enable_memory_snapshot": True, "gpu": ["H100:2", "any"], "ephemeral_disk": 1024,
    "schedule": volant.Period(days=1), "volumes": {"/data": volant.Volume.from_name("surface")},
    "region": ["us", "eu"], "cloud": "aws", "routing_region": "us-east", "nonpreemptible": True,
    "experimental_options": {"enable_gpu_snapshot": True}, "restrict_modal_access": True,
}  # fmt: skip
PLANNED_KEYWORDS = ["proxy", "i6pn"]
OLD_KEYWORDS = ["max_inputs", *options.RENAMED]


def test_the_public_names_are_these() -> None:
    """A name that arrives or goes is a decision, and stands in this list."""
    assert sorted(volant.__all__) == sorted(PUBLIC)


def test_old_keywords_are_told_all_at_once_with_what_to_write_now() -> None:
    with pytest.raises(DeprecationError) as caught:
        volant.App("old").function(keep_warm=1, allow_concurrent_inputs=10)
    assert str(caught.value) == (
        "@app.function: keep_warm= is now min_containers=1; "
        "allow_concurrent_inputs= is now the decorator `concurrent(max_inputs=10)`"
    )


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (volant.Function, "lookup", "Function.from_name(app, name)"),
        (volant.Cls, "lookup", "Cls.from_name(app, name)"),
        (volant.Volume, "persisted", "Volume.from_name(name, create_if_missing=True)"),
        (volant.Dict, "new", "Dict.from_name(name, create_if_missing=True)"),
        (volant.Image, "copy_local_file", "image.add_local_file(..., copy=True)"),
    ],
)  # fmt: skip
def test_a_member_that_went_says_what_to_write_now(owner: type, name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match=f"is no more: write `{re.escape(instead)}`$"):
        getattr(owner, name)
    assert not hasattr(owner, name)


@pytest.mark.parametrize("name", PLANNED_NAMES)
def test_a_planned_name_says_so_when_it_is_used(name: str) -> None:
    """It exists, so that importing it works, and names itself when it is called."""
    planned = getattr(volant, name)
    with pytest.raises(UnimplementedError, match=rf"^`volant\.{name}` is not implemented yet"):
        planned()
    with pytest.raises(UnimplementedError, match=rf"^`volant\.{name}\.from_name` is not"):
        planned.from_name("x")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("NetworkFileSystem.from_name", "in a `Volume`"), ("Proxy", "own addresses"),
        ("experimental.flash_forward", "@app.server"), ("billing.report", "no prices"),
        ("Environment.roles", "one user"), ("types.MetricSeries", "README.md"),
    ],
)  # fmt: skip
def test_a_planned_name_says_what_there_is_instead(path: str, hint: str) -> None:
    with pytest.raises(UnimplementedError, match=hint):
        operator.attrgetter(path)(volant)()


def test_a_planned_name_may_be_mentioned_where_types_are() -> None:
    planned: Any = volant.Proxy
    assert not isinstance("anything", planned)
    assert repr(planned | None) == repr(None | planned) == repr(planned)


@pytest.mark.parametrize("module", MODULES)
def test_a_planned_module_says_so_when_it_is_used(module: str) -> None:
    """It can be imported, and reached by its name; each of its names says what is missing."""
    name = MODULES[module]
    expected = rf"^`volant\.{module}\.{name}` is not implemented yet"
    imported = __import__(f"volant.{module}", fromlist=["__doc__"])
    assert getattr(volant, module) is imported
    with pytest.raises(UnimplementedError, match=expected):
        getattr(imported, name)
    with pytest.raises(UnimplementedError, match=expected):
        exec(f"from volant.{module} import {name}")
    assert not hasattr(imported, "__path__")


def test_an_app_tells_its_image_and_takes_another() -> None:
    made = volant.App()
    assert made.image is None
    made.image = image = volant.Image.host()
    assert made.image is image
    assert volant.App(image=image).image is image


def test_types_of_what_requests_return_are_public() -> None:
    """A type that a program wants to name is found where the model has it."""
    import volant.types

    public = {name for name, one in vars(volant.types).items() if isinstance(one, type)}
    assert public == {
        "AppInfo", "AppLifecycle", "AppState", "CloudBucketMountInfo", "FunctionInfo",
        "VolumeMountInfo",
        "AutoscalerSettings", "BatchUpload", "ConnectCredentials", "ContainerProcess", "DictInfo",
        "FileEntry", "FileEntryType", "FileIO", "FileInfo", "FileType", "FileWatchEvent",
        "FileWatchEventType", "FunctionAutoscalerSettings", "FunctionCurrentStats",
        "FunctionStats", "InputInfo", "InputStatus", "LogEntry", "Obj", "ObjectInfo", "QueueInfo",
        "SandboxConnectCredentials", "SandboxFilesystem", "SecretInfo",
        "ServerAutoscalerSettings", "ServerInfo", "ServerSession", "ServerSessionCredentials",
        "ServerStats", "SidecarContainer", "SidecarManager", "StreamReader", "StreamType",
        "StreamWriter", "VolumeInfo", "VolumeUploadContextManager",
    }  # fmt: skip


def _members(at: int) -> list[tuple[str, str]]:
    return [(kind, name) for kind, (_, *lists) in MEMBERS.items() for name in lists[at]]


@pytest.mark.parametrize(("kind", "name"), _members(0))
def test_a_member_that_works_is_there(kind: str, name: str) -> None:
    """What it does is tested elsewhere."""
    assert not isinstance(getattr(MEMBERS[kind][0], name), Planned)


@pytest.mark.parametrize(("kind", "name"), _members(1))
def test_a_planned_member_says_so_when_it_is_used(kind: str, name: str) -> None:
    """On the class and on its instances, called or asked for a part."""
    for owner in (MEMBERS[kind][0], getattr(volant, kind)):
        member = getattr(owner, name)
        with pytest.raises(UnimplementedError, match=rf"\b{name}\b.* is not implemented yet"):
            member(app)
        if isinstance(member, Planned):
            with pytest.raises(UnimplementedError, match=rf"`{kind}\.{name}\.fetch` is not"):
                member.fetch()


@pytest.mark.parametrize("kind", MEMBERS)
def test_planned_members_stand_in_nobodys_way(kind: str) -> None:
    """Copying, pickling and looking at an object ask it for names that it does not have."""
    instance = MEMBERS[kind][0]
    assert {name for name, _ in inspect.getmembers(instance)} >= set(MEMBERS[kind][2])
    if kind != "App":  # which is not a value
        assert type(copy.copy(instance)) is type(instance)
        assert type(copy.deepcopy(instance)) is type(instance)
        assert type(pickle.loads(pickle.dumps(instance))) is type(instance)
    for name in MEMBERS[kind][2]:
        assert not hasattr(getattr(instance, name), "__wrapped__")
        copy.deepcopy(getattr(instance, name))


def test_the_keywords_of_a_function_are_these() -> None:
    """Section 2.1 of the reference, and what its old programs still write."""
    known = list(inspect.signature(app.function).parameters)[1:]
    assert sorted(known) == sorted([*KEYWORDS, *PLANNED_KEYWORDS, *OLD_KEYWORDS])
    assert sorted(options.PLANNED) == sorted(PLANNED_KEYWORDS)


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_that_works_is_taken(keyword: str) -> None:
    given: Mapping[str, Any] = {keyword: KEYWORDS[keyword]}
    made = volant.App().function(**given)(function._raw)
    assert isinstance(made, volant.Function)


@pytest.mark.parametrize("keyword", PLANNED_KEYWORDS)
def test_a_planned_keyword_says_so_when_it_is_given(keyword: str) -> None:
    """None is silently ignored; what means "not asked for" is taken."""
    given: Mapping[str, Any] = {keyword: object()}
    with pytest.raises(UnimplementedError, match=rf"^@app\.function\({keyword}=\.\.\.\) is not"):
        volant.App().function(**given)
    not_asked: Mapping[str, Any] = {keyword: options.PLANNED[keyword]}
    volant.App().function(**not_asked)


def test_a_planned_form_cannot_be_awaited_either() -> None:
    """Its `.aio` names itself as well."""
    with pytest.raises(UnimplementedError, match="metrics"):
        asyncio.run(function.metrics.aio())


def test_an_image_is_piped_through_a_recipe() -> None:
    image = volant.Image.host()
    assert image.pipe(lambda given, *more: (given, more), 1, 2) == (image, (1, 2))


def test_an_old_name_says_what_it_is_called_now() -> None:
    with pytest.raises(DeprecationError, match=r"called @volant\.fastapi_endpoint now"):
        volant.web_endpoint(method="POST")
