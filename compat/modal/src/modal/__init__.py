"""The names of Modal's package, versions 1.4 to 1.6: Volant's own objects, for programs that exist.

    import modal                     is `import volant` under another name
    modal.App is volant.App          and so on: nothing here behaves

Names are loaded on first use. What Volant does not have says so when it is used.
"""

from __future__ import annotations

import sys

import volant
from modal import _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modal import (  # two more have names that the code below needs for itself
        app as app,
        billing as billing,
        call_graph as call_graph,
        client as client,
        cloud_bucket_mount as cloud_bucket_mount,
        cls as cls,
        cluster as cluster,
        config as config,
        container_process as container_process,
        environments as environments,
        exception as exception,
        experimental as experimental,
        file_io as file_io,
        file_pattern_matcher as file_pattern_matcher,
        functions as functions,
        image as image,
        io_streams as io_streams,
        mount as mount,
        network_file_system as network_file_system,
        output as output,
        parallel_map as parallel_map,
        partial_function as partial_function,
        proxy as proxy,
        queue as queue,
        retries as retries,
        runner as runner,
        running_app as running_app,
        sandbox as sandbox,
        sandbox_fs as sandbox_fs,
        schedule as schedule,
        scheduler_placement as scheduler_placement,
        secret as secret,
        server as server,
        serving as serving,
        snapshot as snapshot,
        stream_type as stream_type,
        token_flow as token_flow,
        types as types,
        volume as volume,
        workspace as workspace,
    )  # fmt: skip
    from volant import *  # noqa: F403  # for type checkers, it is
    from volant import web_endpoint as web_endpoint

_settings.adopt()

#: The newest version of the package whose names are here.
__version__ = "1.6.4"

#: Submodules, which are reached without an import of their own.
_SUBMODULES = frozenset({
    "app", "billing", "call_graph", "client", "cloud_bucket_mount", "cls", "cluster", "config",
    "container_process", "dict", "environments", "exception", "experimental", "file_io",
    "file_pattern_matcher", "functions", "image", "io_streams", "mount", "network_file_system",
    "object", "output", "parallel_map", "partial_function", "proxy", "queue", "retries", "runner",
    "running_app", "sandbox", "sandbox_fs", "schedule", "scheduler_placement", "secret", "server",
    "serving", "snapshot", "stream_type", "token_flow", "types", "volume", "workspace",
})  # fmt: skip
#: What Volant does not have yet.
_STANDINS = frozenset({
    "NetworkFileSystem", "Proxy", "SchedulerPlacement", "Workspace",
})  # fmt: skip
#: What the package had before 1.4 -> what to write now.
_GONE = {
    "Mount": "images take local files: `.add_local_file`, `.add_local_dir`, "
             "`.add_local_python_source`",
    "SharedVolume": "use `modal.Volume`",
    "Stub": "use `modal.App`, which is the same under another name",
    "build": "use `modal.Image.run_function`, or a volume and `@modal.enter`",
    "create_package_mounts": "use `modal.Image.add_local_python_source`",
    "gpu": "write `gpu=\"A100\"`, or `gpu=\"A100:2\"` for two",
}  # fmt: skip

__all__ = [  # noqa: F405  # what is loaded on first use
    "App", "Client", "CloudBucketMount", "Cls", "Cluster", "Cron", "Dict", "Environment",
    "Error", "FilePatternMatcher", "Function", "FunctionCall", "Image", "NetworkFileSystem",
    "Period", "Probe", "Proxy", "Queue", "Retries", "Sandbox", "SandboxSnapshot",
    "SchedulerPlacement", "Secret", "Server", "Tunnel", "Volume", "Workspace", "asgi_app",
    "batched", "clustered", "concurrent", "current_function_call_id", "current_input_id",
    "enable_output", "enter", "exit", "fastapi_endpoint", "forward", "interact", "is_local",
    "method", "parameter", "sessioned", "web_endpoint", "web_server", "wsgi_app",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        __import__(f"{__name__}.{name}")
        return sys.modules[f"{__name__}.{name}"]
    if name in _STANDINS:
        from volant.sdk.planned import Planned

        return Planned(f"{__name__}.{name}")
    if name in _GONE:
        told = f"`modal.{name}` went before version 1.4: {_GONE[name]}"
        # `from modal import ...` would keep an AttributeError, and its words, to itself.
        asker = sys._getframe(1).f_globals.get("__name__")
        imported = asker in {"importlib._bootstrap", "_frozen_importlib"}
        raise ImportError(told) if imported else AttributeError(told)
    if name.startswith("_") or not hasattr(volant, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(volant, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
