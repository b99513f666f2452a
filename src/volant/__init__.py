"""Volant: ordinary Python functions in autoscaled, isolated containers on machines you own.

    import volant

    app = volant.App("hello")

    @app.function()
    def square(x: int) -> int:
        return x * x

    @app.local_entrypoint()
    def main() -> None:
        print(square.remote(7))          # `volant run hello.py`

Names are loaded on first use, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from volant.version import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.errors import Error as Error
    from volant.sdk.ambient import (
        current_function_call_id as current_function_call_id,
        current_input_id as current_input_id,
        is_local as is_local,
    )
    from volant.sdk.app import App as App
    from volant.sdk.calls.call import FunctionCall as FunctionCall
    from volant.sdk.classes.handles import Cls as Cls
    from volant.sdk.classes.marks import enter as enter, exit as exit, method as method
    from volant.sdk.classes.parameters import parameter as parameter
    from volant.sdk.function import Function as Function
    from volant.sdk.images.image import Image as Image
    from volant.sdk.images.patterns import FilePatternMatcher as FilePatternMatcher
    from volant.sdk.inputs.batching import batched as batched
    from volant.sdk.inputs.clustering import Cluster as Cluster, clustered as clustered
    from volant.sdk.inputs.concurrency import concurrent as concurrent
    from volant.sdk.objects.client import Client as Client
    from volant.sdk.objects.dicts import Dict as Dict
    from volant.sdk.objects.environment import Environment as Environment
    from volant.sdk.objects.queues import Queue as Queue
    from volant.sdk.objects.schedule import Cron as Cron, Period as Period
    from volant.sdk.output import enable_output as enable_output
    from volant.sdk.ports.tunnels import Tunnel as Tunnel, forward as forward
    from volant.sdk.retries import Retries as Retries
    from volant.sdk.sandboxes.copies import SandboxSnapshot as SandboxSnapshot
    from volant.sdk.sandboxes.probe import Probe as Probe
    from volant.sdk.sandboxes.sandbox import Sandbox as Sandbox
    from volant.sdk.terminal.inside import interact as interact
    from volant.sdk.volumes.bucket import CloudBucketMount as CloudBucketMount
    from volant.sdk.volumes.volume import Volume as Volume
    from volant.sdk.web.forms import (
        asgi_app as asgi_app,
        fastapi_endpoint as fastapi_endpoint,
        web_endpoint as web_endpoint,
        web_server as web_server,
        wsgi_app as wsgi_app,
    )
    from volant.sdk.web.servers import Server as Server

#: Public name -> the module that defines it.
_HOME = {
    "App": "volant.sdk.app",
    "CloudBucketMount": "volant.sdk.volumes.bucket",
    "Client": "volant.sdk.objects.client",
    "Cls": "volant.sdk.classes.handles",
    "Cluster": "volant.sdk.inputs.clustering",
    "Cron": "volant.sdk.objects.schedule",
    "Dict": "volant.sdk.objects.dicts",
    "Environment": "volant.sdk.objects.environment",
    "Error": "volant.errors",
    "Function": "volant.sdk.function",
    "FunctionCall": "volant.sdk.calls.call",
    "FilePatternMatcher": "volant.sdk.images.patterns",
    "Image": "volant.sdk.images.image",
    "Period": "volant.sdk.objects.schedule",
    "Probe": "volant.sdk.sandboxes.probe",
    "Queue": "volant.sdk.objects.queues",
    "Retries": "volant.sdk.retries",
    "Sandbox": "volant.sdk.sandboxes.sandbox",
    "SandboxSnapshot": "volant.sdk.sandboxes.copies",
    "Secret": "volant.sdk.objects.secret",
    "Server": "volant.sdk.web.servers",
    "Volume": "volant.sdk.volumes.volume",
    "asgi_app": "volant.sdk.web.forms",
    "Tunnel": "volant.sdk.ports.tunnels",
    "batched": "volant.sdk.inputs.batching",
    "clustered": "volant.sdk.inputs.clustering",
    "concurrent": "volant.sdk.inputs.concurrency",
    "current_function_call_id": "volant.sdk.ambient",
    "current_input_id": "volant.sdk.ambient",
    "enter": "volant.sdk.classes.marks",
    "exit": "volant.sdk.classes.marks",
    "enable_output": "volant.sdk.output",
    "fastapi_endpoint": "volant.sdk.web.forms",
    "forward": "volant.sdk.ports.tunnels",
    "interact": "volant.sdk.terminal.inside",
    "is_local": "volant.sdk.ambient",
    "method": "volant.sdk.classes.marks",
    "parameter": "volant.sdk.classes.parameters",
    "sessioned": "volant.sdk.web.sessions",
    "web_endpoint": "volant.sdk.web.forms",
    "web_server": "volant.sdk.web.forms",
    "wsgi_app": "volant.sdk.web.forms",
}

#: Public modules that are reached by name, without an import of their own.
_SUBMODULES = frozenset({"billing", "experimental", "file_pattern_matcher", "types"})

#: Names of the programming model whose feature is not there yet: using one says so.
_PLANNED = frozenset({
    "NetworkFileSystem", "Proxy",
    "SchedulerPlacement", "Workspace",
})  # fmt: skip

__all__ = [
    "App",
    "Client",
    "CloudBucketMount",
    "Cls",
    "Cluster",
    "Cron",
    "Dict",
    "Environment",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "Period",
    "Probe",
    "Queue",
    "Retries",
    "Sandbox",
    "SandboxSnapshot",
    "Secret",
    "Server",
    "Tunnel",
    "Volume",
    "__version__",
    "asgi_app",
    "batched",
    "clustered",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exit",
    "fastapi_endpoint",
    "forward",
    "interact",
    "is_local",
    "method",
    "parameter",
    "sessioned",
    "web_server",
    "wsgi_app",
]


#: What people look for here at first.
_OF_APPS = frozenset({"function", "local_entrypoint"})


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is not None:
        __import__(home)
        import sys

        value: object = getattr(sys.modules[home], name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        import sys

        __import__(f"volant.{name}")
        return sys.modules[f"volant.{name}"]
    if name in _PLANNED:
        from volant.sdk.planned import Planned

        return Planned(f"volant.{name}")
    message = f"module 'volant' has no attribute {name!r}"
    if name in _OF_APPS:
        hint = f'apps have it: `@app.{name}()` with `app = volant.App("name")`'
        # Given an object, Python does not look here for what else might have been meant.
        raise AttributeError(f"{message}\nhint: {hint}", name=name, obj=None)
    raise AttributeError(message + _suggestion(name))


#: `from volant import config` asks here first, and an error that nobody sees should cost nothing.
_MODULES = frozenset({"channel", "cli", "config", "errors", "ids", "runner", "sdk", "wire"})


def _suggestion(name: str) -> str:
    if name.startswith("_") or name in _MODULES:
        return ""
    import difflib

    near = difflib.get_close_matches(name, [*_HOME, *_PLANNED, *_SUBMODULES], n=1)
    # What `dir()` lists Python suggests itself when it prints the error.
    return f"; did you mean {near[0]!r}?" if near and near[0] not in __dir__() else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
