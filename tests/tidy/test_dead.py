"""What `src` defines, `src` uses: code that only tests call proves nothing about the product.

A name counts as used when it is read anywhere in `src`, is an argument's name, or stands there as
a string (methods that are found by name). Decorators use what they decorate.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = ROOT / "src"
#: Modules whose names users import; tests/surface holds what they are.
PUBLIC_MODULES = {
    "volant/errors.py", "volant/_late_errors.py", "volant/sdk/calls/graph.py", "volant/types.py",
}  # fmt: skip
#: Decorators that change how a name is used, not whether.
PLAIN_DECORATORS = {"property", "staticmethod", "classmethod", "contextmanager", "overload"}
#: Name -> who uses it.
USED_ELSEWHERE = {
    # methods of the public objects
    "_experimental_pause": "Sandbox, users",
    "_experimental_resume": "Sandbox, users",
    "_experimental_set_outbound_network_policy": "Sandbox, users",
    "_experimental_containers": "Sandbox, users",
    "_experimental_sidecars": "Sandbox, users",
    "branch_labels": "alembic",
    "depends_on": "alembic",
    "down_revision": "alembic",
    "filesystem": "Sandbox, users",
    "SOCKET": "FileType, users",
    "UNSPECIFIED": "FileEntryType, users",
    "from_dotenv": "Secret, users",
    "from_local_environ": "Secret, users",
    "from_scratch": "Image, users",
    "get_call_graph": "FunctionCall, users",
    "get_raw_f": "Function, users",
    "get_tags": "App, users",
    "get_url": "Server, users",
    "hydrate": "Function, FunctionCall and Image, users",
    "imports": "Image, users",
    "include": "App, users",
    "is_dir": "FileInfo, users",
    "is_file": "FileInfo, users",
    "is_symlink": "FileInfo, users",
    "local_entrypoint": "App, users",
    "lookup": "App, users",
    "registered_entrypoints": "App, users",
    "registered_web_endpoints": "App, users",
    "sandboxes": "App, users",
    "set_tags": "App, users",
    "tcp_socket": "Tunnel, users",
    "tls_socket": "Tunnel, users",
    "with_batching": "Function and Cls, users",
    "with_concurrency": "Function and Cls, users",
    "with_exec": "Probe, users",
    "with_header_replacement": "OutboundPolicy, users",
    "with_idempotency_key": "Function, users",
    "with_tcp": "Probe, users",
    "set_description": "App, users",
    "registered_classes": "App, users",
    "tcp_port": "Probe, users",
    "exec_argv": "Probe, users",
    "is_hydrated": "all handles, users",
    "get_dashboard_url": "all handles, users",
    "container_rank": "Cluster, users",
    "get_app_lifecycle": "volant.experimental, users",
    "get_app_objects": "volant.experimental, users",
    "stop_app": "volant.experimental, users",
    "list_deployed_apps": "volant.experimental, users",
    "INITIALIZING": "AppState, users",
    "EPHEMERAL": "AppState, users",
    "DETACHED": "AppState, users",
    "DEPLOYED": "AppState, users",
    "DISABLED": "AppState, users",
    "simulate_preemption": "modal.exception, users",
    "aclose": "StreamReader, users",
    "from_aws_ecr": "Image, users",
    "from_gcp_artifact_registry": "Image, users",
    "is_parameter": "modal.cls, users",
    # called or read by libraries
    "_fields_": "ctypes",
    "connection_lost": "asyncio",
    "data_received": "asyncio",
    "eof_received": "asyncio",
    "get_code": "importlib",
    "on_breakpoint": "Python, by the variable PYTHONBREAKPOINT",
    "_layout_": "ctypes",
    "_pack_": "ctypes",
    "pause_writing": "asyncio",
    "resume_writing": "asyncio",
    "should_exit": "uvicorn",
    "format_commands": "click",
    "writelines": "whoever prints to a stream",
    # windows into the core, which has no other way to be seen
    "drain_events": "tests of the core, and people who look for a mistake in it",
    "snapshot": "the same",
}


def _definitions(body: list[ast.stmt]) -> Iterator[str]:
    """Names of a module or class that outlive one function."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {word.id for word in node.decorator_list if isinstance(word, ast.Name)}
            if len(node.decorator_list) == len(names & PLAIN_DECORATORS):
                yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            yield from _definitions(node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _definitions([*node.body, *node.orelse])


def _uses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg
        elif isinstance(node, ast.MatchClass):
            yield from node.kwd_attrs


def _unused(sources: dict[str, str]) -> dict[str, str]:
    """Name -> module, of what nothing uses."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    used = {word for tree in trees.values() for word in _uses(tree)}
    return {
        word: name
        for name, tree in trees.items()
        if name not in PUBLIC_MODULES
        for word in _definitions(tree.body)
        if word not in used and not (word.startswith("__") and word.endswith("__"))
    }


def test_nothing_is_there_that_nothing_uses() -> None:
    sources = {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}
    unused = _unused(sources)
    dead = {word: where for word, where in unused.items() if word not in USED_ELSEWHERE}
    assert not dead, f"use it or delete it: {dead}"
    defined = {word for text in sources.values() for word in _definitions(ast.parse(text).body)}
    assert set(USED_ELSEWHERE) <= defined, "excuses for what is not there any more"


def test_what_is_not_used_is_found() -> None:
    source = """
import click
LIMIT, OTHER = 1, 2
class Box:
    size: int = 0
    def open(self): return OTHER
    @property
    def shut(self): return self.size
@click.command()
def command(): Box()
async def lonely(): pass
"""
    assert set(_unused({"volant/x.py": source})) == {"LIMIT", "open", "shut", "lonely"}
