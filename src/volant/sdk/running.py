"""A running app: what `with app.run():` does from the first frame to the last.

    describe ─► app_open ─► upload what the hub has not seen ─► bind functions ─► body
             ─► app_close (waits until the hub has sent every log line) ─► unbind

Closing the connection stops an app as well: the hub takes a client that is gone for one that
wants nothing any more, unless the app is detached.
"""

from __future__ import annotations

import os
import sys

from volant import _context
from volant.channel import current
from volant.errors import ConnectionError, InvalidError
from volant.sdk import output
from volant.sdk.calls.calling import Binding, warn_blocking
from volant.sdk.deploying.contents import upload
from volant.sdk.function import bind
from volant.sdk.images.host import host_wire
from volant.sdk.naming import check_environment, check_name, checked_tags
from volant.sdk.objects.handle import check_client
from volant.sdk.sources import Entry, Sources, collect, entry_of, is_local
from volant.wire import payloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Any

    from volant.channel.channel import Channel
    from volant.sdk.app import App
    from volant.sdk.function import Function
    from volant.sdk.images.image import Image
    from volant.sdk.objects.client import Client

_OUR_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Run:
    """`app.run(...)` and `app.run.aio(...)`, which are the same."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, *, name: str | None = None, client: Client | None = None, detach: bool = False,
        interactive: bool = False, environment_name: str | None = None,
    ) -> RunContext:  # fmt: skip
        check_client(client)
        if name is not None:
            check_name("an app", name)
        return RunContext(
            self._app, name=name, detach=detach, interactive=interactive,
            environment=check_environment(environment_name),
        )  # fmt: skip

    aio = __call__


class RunContext:
    """Runs an app for the body of a `with` or `async with` block."""

    def __init__(
        self, app: App, *, name: str | None, detach: bool, interactive: bool = False,
        is_shell: bool = False, added: Mapping[str, str] | None = None,
        environment: str | None = None,
    ) -> None:  # fmt: skip
        """Take what `App.run` and the command say.

        Args:
            is_shell: nothing of the program is imported in its containers.
            added: further files for them: path below root -> local path.
            environment: where it runs; None for that of this process.
        """
        self._app = app
        self._name = name or app.name
        self._detach = detach
        self._interactive = interactive
        self._is_shell = is_shell
        self._added = added
        self._environment = environment
        self._running: RunningApp | None = None
        #: spawned calls that the end of the run cut short
        self.unfinished_count = 0

    def __enter__(self) -> App:
        self._refuse_global_scope()
        warn_blocking("with app.run()", "async with app.run()")
        if self._app._app_id is not None:
            raise InvalidError(f"{self._app!r} runs already")
        if self._interactive:
            from volant.sdk.terminal import desk

            desk.check_terminal()
        self._running = RunningApp(
            self._app, self._name, self._detach, interactive=self._interactive,
            is_shell=self._is_shell, added=self._added, environment=self._environment,
        )  # fmt: skip
        self._running.open()
        return self._app

    def _refuse_global_scope(self) -> None:
        runs_nothing = _context.current_input.get() is None and not _context.answers_requests
        if _context.in_container() and runs_nothing:
            raise InvalidError(
                "app.run() at global scope of a module that containers import",
                hint='move it below `if __name__ == "__main__":`',
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._running is not None
        interrupted = kind is KeyboardInterrupt
        if isinstance(value, (Exception, KeyboardInterrupt)):
            _hide_our_frames(value)
        self.unfinished_count = self._running.close(_reason(kind), interrupted=interrupted)

    async def __aenter__(self) -> App:
        import asyncio

        self._refuse_global_scope()
        return await asyncio.get_running_loop().run_in_executor(None, self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.__exit__, kind, value, traceback)


def _hide_our_frames(error: BaseException) -> None:
    """Leave the user's frames, here and in containers, in what a program is about to end with.

    Whoever raises it is a frame of ours, and only behind that can it be taken out. What no user's
    code has to do with, and is neither an `Error` nor Ctrl-C, is a bug of ours: it keeps its
    frames.
    """
    from volant import config
    from volant.errors import Error

    try:
        if config.load().values["traceback"]:
            return
    except Error:
        pass  # settings that cannot be read are told of elsewhere
    for one in chain_of(error):
        entries = []
        entry = one.__traceback__
        while entry is not None:
            entries.append((entry, entry.tb_frame.f_code.co_filename.startswith(_OUR_PACKAGE)))
            entry = entry.tb_next
        users = [entry for entry, is_ours in entries if not is_ours]
        is_told = isinstance(one, (Error, KeyboardInterrupt))
        if users and (is_told or users[-1] is entries[-1][0]):
            one.__traceback__ = _chained(users)


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An exception with all that led to it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            yield one


def _chained(entries: list[TracebackType]) -> TracebackType | None:
    traceback = None
    for entry in reversed(entries):
        traceback = type(entry)(traceback, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return traceback


def _reason(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "finished"
    return "interrupted" if kind is KeyboardInterrupt else f"failed with {kind.__name__}"


class SetTags:
    """`app.set_tags(...)` and `app.set_tags.aio(...)`; asks nobody while the app does not run."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, tags: dict[str, str]) -> None:
        app = self._app
        app._tags = checked_tags(tags)
        if app._app_id is not None:
            warn_blocking("app.set_tags(...)", "await app.set_tags.aio(...)")
            current.channel().request("app_set_tags", app_id=app._app_id, tags=app._tags)

    async def aio(self, tags: dict[str, str]) -> None:
        from volant.sdk.calls.call import request_async

        app = self._app
        app._tags = checked_tags(tags)
        if app._app_id is not None:
            await request_async("app_set_tags", app_id=app._app_id, tags=app._tags)


class GetTags:
    """`app.get_tags()` and `app.get_tags.aio()`; neither asks anybody."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self) -> dict[str, str]:
        return dict(self._app._tags)

    async def aio(self) -> dict[str, str]:
        return dict(self._app._tags)


class RunningApp:
    """One run of an app on a channel."""

    def __init__(
        self,
        app: App,
        name: str | None,
        detach: bool,
        *,
        interactive: bool = False,
        is_shell: bool = False,
        added: Mapping[str, str] | None = None,
        environment: str | None = None,
    ) -> None:
        self.app = app
        self.name = name
        self.detach = detach
        self.interactive = interactive
        self.is_shell = is_shell
        self.added = added
        self.environment = environment
        self.channel: Channel = current.channel()
        self.sources = Sources()
        #: sha256 -> local path or content, of what the image of the app needs
        self.image_contents: dict[str, str | bytes] = {}
        self.description: dict[str, Any] = {}
        self._pump: output.LogPump | None = None

    def open(self) -> None:
        """Describe the app to the hub and bind its functions."""
        self.description = self._describe()
        shown = output.active
        if shown is not None:
            self.channel.on_event = shown.on_event
        reply = self.channel.request("app_open", app=self.description, environment=self.environment)
        self.app._app_id = reply["app_id"]
        try:
            self._upload(reply["need"])
            self._name_images(reply)
            self.channel.on_reconnect.append(self._open_again)
            self._have_images_built()
        except BaseException as error:
            self.close(_reason(type(error)), interrupted=isinstance(error, KeyboardInterrupt))
            raise
        local_path = self.sources.local_path
        for number, (function, function_id) in enumerate(self._with_ids(reply), self._base):
            binding = Binding(self.channel, number, function.name, local_path, function_id)
            binding.environment = self.environment
            binding.set_urls(reply["urls"])
            bind(function, binding)
        if self.interactive:
            from volant.sdk.terminal import desk

            desk.offer(self.channel)
        if shown is not None or self.interactive:
            self._pump = output.LogPump(self.channel)

    def _have_images_built(self) -> None:
        """Wait until the images of all functions are there."""
        count = sum(image["kind"] != "host" for image in self.description["images"])
        if count and self._functions:
            if output.active is not None:
                output.active.on_images(count)
            self.channel.request("app_images", function=self._base)

    def _with_ids(self, reply: dict[str, Any]) -> Iterator[tuple[Function[..., Any, Any], str]]:
        """The app's functions and the ids that the hub gave them, as they were described."""
        return zip(self._functions, reply["functions"], strict=True)

    def _describe(self) -> dict[str, Any]:
        self._functions = functions = list(self.app._functions.values())
        self._base = self.channel.lane_tokens.next_functions(len(functions))
        entries = self._entries()
        main = entries[0] if entries else Entry(None, None, "")
        self.sources = collect(entries, self.added) if entries or self.added else Sources()
        self._described_images = images = self._images()
        for function in functions:
            self._refuse_without_source(function, self._remote_module(function.__module__, main))
        return {
            "name": self.name,
            "tags": self.app._tags,
            "detach": self.detach,
            "output": output.active is not None,
            "interactive": self.interactive,
            "imports": not self.is_shell,
            "entry": main.to_wire(),
            "files": self.sources.files,
            "images": self._described(images),
            "functions": [
                f.to_wire(
                    self._remote_module(f.__module__, main),
                    self._image_index(images, f),
                    self.environment,
                )
                for f in functions
            ],
            "base": self._base,
            "express": self.channel.lane_tokens.make(self._base, len(functions)),
        }

    def _name_images(self, reply: dict[str, Any]) -> None:
        for image, image_id in zip(self._described_images, reply["images"], strict=True):
            if image is not None and not _context.in_container():
                image._object_id = image_id

    def _described(self, images: list[Image | None]) -> list[dict[str, object]]:
        """Images as the hub is told of them."""
        found = []
        for image in images:
            described = None if image is None else image.described()
            found.append(host_wire() if described is None else described.wire)
            if described is not None:
                self.image_contents.update(described.contents)
        return found

    def _images(self) -> list[Image | None]:
        """The images that functions have, each once; None for the default.

        A container's apps run in its own image, whatever they name.
        """
        if _context.in_container():
            return [None]
        found: list[Image | None] = []
        for function in self.app._functions.values():
            if not any(function._image is image for image in found):
                found.append(function._image)
        return found or [self.app._image]

    @staticmethod
    def _image_index(images: list[Image | None], function: Function[..., Any, Any]) -> int:
        return 0 if _context.in_container() else images.index(function._image)

    def _entries(self) -> list[Entry]:
        """Entries of the modules that define functions, the script's own first."""
        names = [
            function.__module__
            for function in self.app._functions.values()
            if not function._serialized and function._include_source
        ]
        for image in self._images():
            names += [] if image is None else image.build_modules()
        modules = sorted(set(names), key=lambda name: (name != "__main__", names.index(name)))
        entries = [entry_of(sys.modules[name]) for name in modules]
        if "__main__" in modules and entries[0].module is not None:
            # Results made in a container name this module by its file, not as `__main__`.
            sys.modules.setdefault(entries[0].module, sys.modules["__main__"])
        return entries

    def _refuse_without_source(self, function: Function[..., Any, Any], remote: str) -> None:
        """Refuse a function whose module is neither sent nor installed: no container has it."""
        if function._serialized or function._include_source:
            return
        path = remote.replace(".", "/")
        if not {f"{path}.py", f"{path}/__init__.py"}.isdisjoint(self.sources.local_paths):
            return  # another function has brought it
        file = getattr(sys.modules.get(function.__module__), "__file__", None)
        if file is not None and is_local(file):
            raise InvalidError(
                f"function `{function.name}` has include_source=False, so no source was sent, "
                f"and containers do not have {file}",
                hint="leave include_source at True, use serialized=True, or install the module "
                "as a package",
            )

    @staticmethod
    def _remote_module(module: str, main: Entry) -> str:
        return main.module if module == "__main__" and main.module is not None else module

    def _upload(self, need: list[str]) -> None:
        upload(self.channel, need, {**self.image_contents, **self.sources.contents})

    def _open_again(self) -> None:
        """Describe the app to a hub that was started anew (on the leading thread)."""
        self.description["tags"] = self.app._tags  # they may have changed meanwhile
        reply = self.channel.direct_request(
            "app_open", app=self.description, before=self.app._app_id,
            environment=self.environment,
        )  # fmt: skip
        self._upload(reply["need"])
        self.app._app_id = reply["app_id"]
        for function, function_id in self._with_ids(reply):
            if function._binding is not None:
                function._binding.function_id = function_id
                function._binding.set_urls(reply["urls"])
                for variant in function._binding.variants.values():
                    variant.tell()
                self._scale_again(function._binding)

    def _scale_again(self, binding: Binding) -> None:
        """Tell the autoscalers of a function's pools what they were told before."""
        for one in (binding, *(variant.binding for variant in binding.variants.values())):
            if one.scaling:
                self.channel.direct_request("function_update", number=one.number, **one.scaling)

    def close(self, reason: str, *, interrupted: bool) -> int:
        """Stop the app, after its last log line was shown.

        Returns:
            How many spawned calls were cancelled by that, as far as it is known.
        """
        try:
            if interrupted:
                self._close_aside(reason)
                return 0
            reply = self.channel.request("app_close", app_id=self.app._app_id, reason=reason)
            return int(reply.get("unfinished", 0))
        except ConnectionError:
            return 0  # a hub that is gone has stopped everything of ours
        finally:
            self.channel.on_reconnect = [
                one for one in self.channel.on_reconnect if one != self._open_again
            ]
            self.channel.lane_tokens.forget(self.description["express"])
            self.app._app_id = None
            payloads.clear_memory()
            for function in self.app._functions.values():
                if function._binding is not None:
                    for variant in function._binding.variants.values():
                        self.channel.lane_tokens.forget(variant.express)
                bind(function, None)
            if self._pump is not None:
                self._pump.stop()

    def _close_aside(self, reason: str) -> None:
        """Stop the app over a connection of its own.

        The interrupt may have come in the middle of a frame, so this one can be trusted no more.
        """
        app_id = self.app._app_id
        home = self.channel.home
        if home is None:
            current.forget()
            return
        from volant.channel.opening import open_channel

        aside = open_channel(home)
        aside.request("app_close", app_id=app_id, reason=reason)
        aside.close()
        try:
            self.channel.pump()
        except (ValueError, OSError):
            pass  # cut in the middle of a frame; its logs stay in the log file
        current.forget()
