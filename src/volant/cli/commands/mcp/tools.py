"""The tools of `volant mcp`: their names, arguments, descriptions and results.

The library makes JSON schemas of the annotations, and the client's model reads the descriptions;
so both say what somebody needs who knows nothing of Volant. What a sandbox says is in fields of
its own in a result, where nothing else is, and harmless to show (`shown`).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context  # noqa: TC002  # read by the library, as all of these
from pydantic import Field
from typing_extensions import TypedDict

from volant.cli.commands.mcp import files, running
from volant.cli.commands.mcp.progress import progress
from volant.cli.commands.mcp.shown import harmless
from volant.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volant.cli.commands.mcp.book import Book
    from volant.cli.commands.mcp.offer import Offer
    from volant.sdk.images.image import Image

#: Seconds that a sandbox may live.
LIFE_MAX_S = 7 * 86400
#: Seconds that a command may take.
COMMAND_MAX_S = 86400

SandboxId = Annotated[str, Field(description="Id that create_sandbox returned, as sb-...")]
FilePath = Annotated[str, Field(description="Absolute path in the sandbox, as /root/data.csv")]
Encoding = Literal["utf-8", "base64"]
Stdin = Annotated[str, Field(description="Text that it reads from standard input, then the end")]
CommandTime = Annotated[
    float, Field(gt=0, le=COMMAND_MAX_S, description="Seconds until it is killed")
]
Workdir = Annotated[str | None, Field(description="Directory that it runs in, an absolute path")]
Variables = Annotated[dict[str, str] | None, Field(description="Environment variables")]


class Made(TypedDict):
    """A sandbox that was made."""

    sandbox_id: str


class Ran(TypedDict):
    """A command that has ended. `stdout` and `stderr` are data from the sandbox."""

    exit_code: int | None
    timed_out: bool
    stdout: str
    stderr: str
    stdout_bytes_left_out: int
    stderr_bytes_left_out: int


class FileContent(TypedDict):
    """A file. `content` is data from the sandbox."""

    path: str
    encoding: Encoding
    content: str
    size_bytes: int


class Written(TypedDict):
    """A file that was written."""

    path: str
    size_bytes: int


class Entry(TypedDict):
    """One entry of a directory. `name` is data from the sandbox."""

    name: str
    type: str
    size_bytes: int


class Listing(TypedDict):
    """A directory."""

    entries: list[Entry]
    entries_left_out: int


class Living(TypedDict):
    """A sandbox that lives."""

    sandbox_id: str
    state: str
    created_at: float


class Sandboxes(TypedDict):
    """All sandboxes that live."""

    sandboxes: list[Living]


class Snapshot(TypedDict):
    """Files of a sandbox, kept."""

    snapshot_id: str


class Stopped(TypedDict):
    """A sandbox that has ended."""

    stopped: str


class Tools:
    """The tools, as methods; `every` is in the order in which a client lists them."""

    def __init__(self, book: Book, offer: Offer) -> None:
        self._book = book
        self._offer = offer
        self.every = (
            self.create_sandbox, self.exec, self.run_python, self.read_file, self.write_file,
            self.list_files, self.snapshot_sandbox, self.list_sandboxes, self.stop_sandbox,
        )  # fmt: skip

    async def create_sandbox(
        self,
        ctx: Context[Any, Any],
        image: Annotated[
            str | None, Field(description="What it is made of, one that this server offers")
        ] = None,
        python_version: Annotated[
            str | None, Field(description='Series of Python, as "3.12"; for image debian only')
        ] = None,
        packages: Annotated[
            list[str] | None, Field(description='Python packages to install, as "numpy==2.1.0"')
        ] = None,
        snapshot_id: Annotated[
            str | None, Field(description="Begin with files kept by snapshot_sandbox, not an image")
        ] = None,
        timeout_s: Annotated[
            float, Field(ge=1, le=LIFE_MAX_S, description="Seconds until it is ended")
        ] = 3600,
        idle_timeout_s: Annotated[
            float | None,
            Field(ge=1, le=LIFE_MAX_S, description="Seconds without a command until it is ended"),
        ] = None,
        cpu: Annotated[float | None, Field(gt=0, description="Cores")] = None,
        memory_mib: Annotated[int | None, Field(ge=1, description="Limit of memory")] = None,
        block_network: Annotated[
            bool, Field(description="No network; false only where the server allows it")
        ] = True,
        env: Variables = None,
    ) -> Made:
        """Make a sandbox: an isolated Linux container with a file system of its own.

        Its state lasts from call to call until it is stopped or its time is over. Packages are
        installed while it is made, which works without a network in the sandbox and is quick the
        next time. The first sandbox of an image may take minutes.
        """
        network = self._offer.network(is_blocked=block_network)
        made = self._image(image, python_version, packages or (), snapshot_id)
        async with progress(ctx, "making the sandbox and, if need be, its image"):
            sandbox = await self._book.make(
                image=made, timeout=timeout_s, idle_timeout=idle_timeout_s, env=env,
                cpu=None if cpu is None else (min(cpu, 0.125), cpu),
                memory=self._offer.memory(memory_mib), **network,
            )  # fmt: skip
        return {"sandbox_id": sandbox.object_id}

    def _image(
        self, name: str | None, python_version: str | None, packages: Sequence[str],
        snapshot_id: str | None,
    ) -> Image:  # fmt: skip
        if snapshot_id is None:
            return self._offer.image(name, python_version, packages)
        if name is not None or python_version is not None:
            raise InvalidError("a snapshot has an image and a Python already: leave these out")
        return self._offer.with_packages(self._book.snapshot(snapshot_id), packages)

    async def exec(
        self,
        ctx: Context[Any, Any],
        sandbox_id: SandboxId,
        command: Annotated[
            str | list[str],
            Field(description="A line for the shell, or a program and its arguments as a list"),
        ],
        stdin: Stdin = "",
        timeout_s: CommandTime = 120,
        workdir: Workdir = None,
        env: Variables = None,
    ) -> Ran:
        """Run a command in a sandbox, and return what it printed and its exit code.

        Of long output the beginning and the end are returned. What the command leaves running in
        the background goes on as long as the sandbox.
        """
        words = ["sh", "-c", command] if isinstance(command, str) else command
        return await self._run(ctx, sandbox_id, words, stdin, timeout_s, workdir, env)

    async def run_python(
        self,
        ctx: Context[Any, Any],
        sandbox_id: SandboxId,
        code: Annotated[str, Field(description="A program; it prints what is to be returned")],
        timeout_s: CommandTime = 120,
        workdir: Workdir = None,
        env: Variables = None,
    ) -> Ran:
        """Run a Python program in a sandbox, in a new interpreter: variables do not last, files do.

        Its standard input is empty.
        """
        words = ("python3", "-u", "-")
        return await self._run(ctx, sandbox_id, words, code, timeout_s, workdir, env)

    async def _run(
        self, ctx: Context[Any, Any], sandbox_id: str, words: Any, stdin: str, timeout_s: float,
        workdir: str | None, env: dict[str, str] | None,
    ) -> Ran:  # fmt: skip
        sandbox, printed = await self._book.find(sandbox_id), running.Printed()
        async with progress(ctx, "the command runs", printed.in_words):
            code = await running.run(
                sandbox, words, printed, stdin=stdin, timeout_s=timeout_s, workdir=workdir, env=env
            )
        return {
            "exit_code": code, "timed_out": code is None,
            "stdout": printed.stdout.text(), "stderr": printed.stderr.text(),
            "stdout_bytes_left_out": printed.stdout.cut,
            "stderr_bytes_left_out": printed.stderr.cut,
        }  # fmt: skip

    async def read_file(
        self,
        sandbox_id: SandboxId,
        path: FilePath,
        encoding: Annotated[Encoding, Field(description="How content is returned")] = "utf-8",
    ) -> FileContent:
        """Read a file of a sandbox, of at most 256 KiB.

        As utf-8, bytes that are no text become U+FFFD and control characters are spelt out; as
        base64, it is exact.
        """
        data = await files.read(await self._book.find(sandbox_id), path)
        content = (
            base64.b64encode(data).decode()
            if encoding == "base64"
            else harmless(data.decode("utf-8", "replace"))
        )
        return {"path": path, "encoding": encoding, "content": content, "size_bytes": len(data)}

    async def write_file(
        self,
        sandbox_id: SandboxId,
        path: FilePath,
        content: Annotated[str, Field(description="All that will be in the file")],
        encoding: Annotated[Encoding, Field(description="What content is")] = "utf-8",
    ) -> Written:
        """Write a file of a sandbox, of at most 256 KiB, in the place of one that is there.

        Directories that it needs are made.
        """
        size = await files.write(await self._book.find(sandbox_id), path, content, encoding)
        return {"path": path, "size_bytes": size}

    async def list_files(self, sandbox_id: SandboxId, path: FilePath = "/root") -> Listing:
        """List a directory of a sandbox, by name, without what is below its directories."""
        found, left_out = await files.entries(await self._book.find(sandbox_id), path)
        entries: list[Entry] = [
            {"name": harmless(one.name), "type": one.type.value, "size_bytes": one.size}
            for one in found
        ]
        return {"entries": entries, "entries_left_out": left_out}

    async def snapshot_sandbox(self, ctx: Context[Any, Any], sandbox_id: SandboxId) -> Snapshot:
        """Keep the files of a sandbox as they are now; the sandbox goes on.

        create_sandbox makes any number of sandboxes that begin with them, also after the first one
        has ended. What runs is not kept.
        """
        async with progress(ctx, "the files are kept"):
            return {"snapshot_id": await self._book.keep_files(sandbox_id)}

    async def list_sandboxes(self) -> Sandboxes:
        """List the sandboxes that live, the newest last."""
        return {"sandboxes": [
            {"sandbox_id": row["sandbox_id"], "state": row["state"],
             "created_at": row["created_at"]}
            for row in await self._book.rows()
        ]}  # fmt: skip

    async def stop_sandbox(self, sandbox_id: SandboxId) -> Stopped:
        """End a sandbox, with all that runs in it and all of its files."""
        await self._book.stop(sandbox_id)
        return {"stopped": sandbox_id}
