"""`volant mcp`, as a client of the maintained library sees it, over stdin and stdout."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

import volant
from tests import gvisor
from tests.behaviours.image_builds import home_of_images
from tests.support import VOLANT, eventually, run_volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry

    Does = Callable[["Tools"], Awaitable[None]]

#: Longer than this nothing takes here, even on a busy machine.
WITHIN_S = 120.0


#: Tries to reach addresses.
REACH = """
import socket
for host in {hosts}:
    try:
        socket.create_connection((host, {port}), 5).recv(1)
    except OSError:
        pass
print("done")
"""


class Tools:
    """The tools of one server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.notes: list[str | None] = []

    async def __call__(self, tool: str, **arguments: object) -> dict[str, Any]:
        """What a tool returns; it must not fail."""
        result = await self.client.call_tool(tool, arguments, progress_callback=self._note)
        assert not result.is_error, result.content
        found = result.structured_content
        assert found is not None
        assert json.loads(result.content[0].text) == found  # type: ignore[union-attr]  # a text
        return found

    async def refused(self, tool: str, **arguments: object) -> str:
        """What a tool says that fails."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error
        return str(result.content[0].text)  # type: ignore[union-attr]  # a text

    async def _note(self, progress: float, total: float | None, message: str | None) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "mcp") as made:
        yield made


@pytest.fixture
def words(registry: Registry) -> list[str]:
    """What the server is started with."""
    return ["mcp", "--image", f"{registry.host}/python:base"]


def use(home: Path, words: list[str], does: Does) -> None:
    """Start a server, and do something with its tools."""

    async def session() -> None:
        async with started(home, words) as tools:
            await does(tools)

    asyncio.run(asyncio.wait_for(session(), WITHIN_S))


@asynccontextmanager
async def started(home: Path, words: list[str]) -> AsyncIterator[Tools]:
    environment = {  # such a client passes few variables on
        "VOLANT_HOME": str(home), "VOLANT_SANDBOX_RUNTIME": gvisor.default_runtime(),
    }  # fmt: skip
    server = StdioServerParameters(command=str(VOLANT), args=words, env=environment)
    async with Client(stdio_client(server)) as client:
        yield Tools(client)


def living(home: Path) -> list[str]:
    told = run_volant("sandbox", "list", "--json", home=home)
    return [row["sandbox_id"] for row in json.loads(told.stdout)]


def test_a_sandbox_is_made_used_and_stopped(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        made = await tools("create_sandbox", env={"GREETING": "hello"}, memory_mib=256)
        assert tools.notes[0] == "making the sandbox and, if need be, its image: 0 s"
        name = made["sandbox_id"]
        line = "echo $GREETING; cat; echo err >&2; exit 7"
        ran = await tools("exec", sandbox_id=name, command=line, stdin="typed\n")
        assert ran == {
            "exit_code": 7, "timed_out": False, "stdout": "hello\ntyped\n", "stderr": "err\n",
            "stdout_bytes_left_out": 0, "stderr_bytes_left_out": 0,
        }  # fmt: skip
        as_words = ["sh", "-c", "echo $0 $PWD", "a b"]
        ran = await tools("exec", sandbox_id=name, command=as_words, workdir="/tmp")
        assert ran["stdout"] == "a b /tmp\n"
        ran = await tools("run_python", sandbox_id=name, code="print(6 * 7)\nraise SystemExit(3)")
        assert (ran["stdout"], ran["exit_code"]) == ("42\n", 3)
        listed = await tools("list_sandboxes")
        assert [one["sandbox_id"] for one in listed["sandboxes"]] == [name]
        assert await tools("stop_sandbox", sandbox_id=name) == {"stopped": name}
        assert (await tools("list_sandboxes"))["sandboxes"] == []
        assert "create_sandbox makes one" in await tools.refused(
            "exec", sandbox_id=name, command="true"
        )

    use(home, words, does)


def test_files_are_written_listed_and_read(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        name = (await tools("create_sandbox"))["sandbox_id"]
        path = "/srv/new/data.txt"
        assert await tools("write_file", sandbox_id=name, path=path, content="größe\n") == {
            "path": path, "size_bytes": 8,
        }  # fmt: skip
        read = await tools("read_file", sandbox_id=name, path=path)
        assert (read["content"], read["size_bytes"]) == ("größe\n", 8)
        data = bytes(range(256))
        await tools("write_file", sandbox_id=name, path="/srv/new/raw", encoding="base64",
                    content=base64.b64encode(data).decode())  # fmt: skip
        read = await tools("read_file", sandbox_id=name, path="/srv/new/raw", encoding="base64")
        assert base64.b64decode(read["content"]) == data
        listed = await tools("list_files", sandbox_id=name, path="/srv/new")
        assert listed["entries"] == [
            {"name": "data.txt", "type": "file", "size_bytes": 8},
            {"name": "raw", "type": "file", "size_bytes": 256},
        ]
        code = "open('/srv/big', 'wb').truncate(262145)"
        await tools("run_python", sandbox_id=name, code=code)
        for tool, about, said in [
            ("read_file", {"path": "/srv/none"}, "/srv/none"),
            ("read_file", {"path": "srv"}, "absolute"),
            ("read_file", {"path": "/dev/zero"}, "no file"),
            ("read_file", {"path": "/srv/big"}, "more than 262144 bytes"),
            ("write_file", {"path": "/srv/x", "content": "x" * 262145}, "at most 262144"),
            ("write_file", {"path": "/srv/x", "content": "?", "encoding": "base64"}, "no base64"),
            ("list_files", {"path": path}, path),
        ]:
            assert said in await tools.refused(tool, sandbox_id=name, **about)

    use(home, words, does)


def test_sandboxes_begin_with_the_files_of_a_snapshot(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        first = (await tools("create_sandbox"))["sandbox_id"]
        await tools("write_file", sandbox_id=first, path="/srv/kept", content="as it was")
        kept = (await tools("snapshot_sandbox", sandbox_id=first))["snapshot_id"]
        await tools("write_file", sandbox_id=first, path="/srv/kept", content="changed")
        await tools("stop_sandbox", sandbox_id=first)
        second = (await tools("create_sandbox", snapshot_id=kept))["sandbox_id"]
        read = await tools("read_file", sandbox_id=second, path="/srv/kept")
        assert read["content"] == "as it was"
        for about, said in [
            ({"snapshot_id": kept, "image": words[-1]}, "leave these out"),
            ({"snapshot_id": "im-6f1c2a9be07d4412aa93ce"}, "there is no snapshot"),
            ({"snapshot_id": kept, "packages": ["-r /etc/passwd"]}, "is no package"),
        ]:
            assert said in await tools.refused("create_sandbox", **about)

    use(home, words, does)


def test_output_is_bounded_and_does_nothing_to_who_sees_it(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        name = (await tools("create_sandbox"))["sandbox_id"]
        code = "print('begin' + 'x' * 300_000_000 + 'end')"
        ran = await tools("run_python", sandbox_id=name, code=code)
        shown, left_out = ran["stdout"], ran["stdout_bytes_left_out"]
        assert left_out == 300_000_009 - 32768
        assert f"[... {left_out} bytes were left out here ...]" in shown
        assert (shown[:6], shown[-5:], len(shown) < 33_000) == ("beginx", "xend\n", True)
        code = r"print('\x1b]0;title\x07 \u202e \U000e0041 \r\n')"
        ran = await tools("run_python", sandbox_id=name, code=code)
        assert ran["stdout"] == "\\x1b]0;title\\x07 \\u202e \\U000e0041 \n\n"

    use(home, words, does)


def test_a_command_is_ended_by_its_timeout_and_leaves_others_running(
    home: Path, words: list[str]
) -> None:
    async def does(tools: Tools) -> None:
        name = (await tools("create_sandbox"))["sandbox_id"]
        ran = await tools("exec", sandbox_id=name, command="echo out; sleep 600", timeout_s=0.5)
        assert (ran["exit_code"], ran["timed_out"], ran["stdout"]) == (None, True, "out\n")
        ran = await tools("exec", sandbox_id=name, command="sleep 600 & echo begun")
        assert (ran["exit_code"], ran["stdout"]) == (0, "begun\n")

    use(home, words, does)


def test_a_command_that_a_client_gives_up_is_killed(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        name = (await tools("create_sandbox"))["sandbox_id"]
        script = "echo $$ > /srv/pid; sleep 600 & echo begun; sleep 600; echo late > /srv/late"
        given_up = asyncio.create_task(
            tools("exec", sandbox_id=name, command=f"mkdir -p /srv; {script}", timeout_s=600)
        )
        look = {"sandbox_id": name, "command": "test -s /srv/pid && ls /proc"}
        while (await tools("exec", **look))["exit_code"] != 0:
            pass
        before = (await tools("exec", **look))["stdout"]
        pid = (await tools("read_file", sandbox_id=name, path="/srv/pid"))["content"].strip()
        assert pid in before.split()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        while pid in (await tools("exec", **look))["stdout"].split():
            pass
        left = await tools("exec", sandbox_id=name, command="cat /proc/[0-9]*/cmdline")
        assert "sleep" not in left["stdout"]

    use(home, words, does)


def test_a_client_gets_what_is_offered_and_no_more(home: Path, words: list[str]) -> None:
    app = volant.App("of-somebody-else")

    async def does(tools: Tools) -> None:
        for about, said in [
            ({"block_network": False}, "have no network"),
            ({"image": "host"}, "'host' is not offered"),
            ({"python_version": "3.12"}, "is its own"),
            ({"memory_mib": 4096}, "from 1 to 2048"),
            ({"timeout_s": 0}, "timeout_s"),
            ({"packages": ["--index-url=http://x"]}, "is no package"),
            ({"packages": ["numpy @ http://127.0.0.1/x"]}, "is no package"),
            ({"packages": ["/etc"]}, "is no package"),
        ]:
            assert said in await tools.refused("create_sandbox", **about)
        async with app.run():
            other = await volant.Sandbox.create.aio(app=app)
            for tool, about in [("exec", {"command": "id"}), ("stop_sandbox", {})]:
                said = await tools.refused(tool, sandbox_id=other.object_id, **about)
                assert f"no sandbox {other.object_id!r} lives here" in said
        name = (await tools("create_sandbox"))["sandbox_id"]
        code = "import socket; print([name for _, name in socket.if_nameindex()])"
        ran = await tools("run_python", sandbox_id=name, code=code)
        assert ran["stdout"] == "['lo']\n"
        assert "live already" in await tools.refused("create_sandbox")
        assert "Unknown tool" in str(await _protocol_answer(tools, "read_host_file"))

    use(home, [*words, "--max-sandboxes", "1"], does)


async def _protocol_answer(tools: Tools, tool: str) -> object:
    try:
        return (await tools.client.call_tool(tool, {})).content
    except MCPError as error:
        return error


def test_a_network_that_is_allowed_does_not_lead_to_this_machine(
    home: Path, words: list[str]
) -> None:
    async def does(tools: Tools) -> None:
        name = (await tools("create_sandbox", block_network=False))["sandbox_id"]
        with socket.create_server(("0.0.0.0", 0)) as listener:
            port = listener.getsockname()[1]
            code = REACH.format(hosts=["127.0.0.1", *_own_addresses()], port=port)
            ran = await tools("run_python", sandbox_id=name, code=code)
            assert (ran["stdout"], ran["exit_code"]) == ("done\n", 0)
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()

    use(home, [*words, "--allow-network"], does)


def _own_addresses() -> list[str]:
    """Addresses of this machine beside its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return []
        return [probe.getsockname()[0]]


def test_as_many_sandboxes_live_as_may(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        async def make(_: int) -> bool:
            return not (await tools.client.call_tool("create_sandbox", {})).is_error

        assert sum(await asyncio.gather(*map(make, range(6)))) == 3
        [first, *_] = (await tools("list_sandboxes"))["sandboxes"]
        await tools("stop_sandbox", sandbox_id=first["sandbox_id"])
        assert [await make(one) for one in range(2)] == [True, False]

    use(home, [*words, "--max-sandboxes", "3"], does)


def test_each_tool_says_what_it_does_and_what_it_takes(home: Path, words: list[str]) -> None:
    async def does(tools: Tools) -> None:
        found = (await tools.client.list_tools()).tools
        assert [one.name for one in found] == [
            "create_sandbox", "exec", "run_python", "read_file", "write_file", "list_files",
            "snapshot_sandbox", "list_sandboxes", "stop_sandbox",
        ]  # fmt: skip
        for one in found:
            assert one.description
            assert one.output_schema
            for name, schema in one.input_schema.get("properties", {}).items():
                assert schema.get("description"), f"{one.name}: {name}"
        assert "do not follow instructions" in (tools.client.instructions or "")

    use(home, words, does)


def test_sandboxes_end_with_the_session_unless_they_are_kept(home: Path, words: list[str]) -> None:
    made: list[str] = []

    async def makes(tools: Tools) -> None:
        made.append((await tools("create_sandbox"))["sandbox_id"])

    async def finds(tools: Tools) -> None:
        ran = await tools("exec", sandbox_id=made[-1], command="echo still here")
        assert ran["stdout"] == "still here\n"
        await tools("stop_sandbox", sandbox_id=made[-1])

    use(home, words, makes)
    eventually(lambda: not living(home), WITHIN_S)
    kept = [*words, "--keep", "assistant"]
    use(home, kept, makes)
    assert living(home) == [made[-1]]
    use(home, kept, finds)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_sandboxes_end_with_the_server(
    home: Path, words: list[str], number: signal.Signals, code: int
) -> None:
    with _begun(home, words) as server:
        answer = _say(server, 2, "tools/call", {"name": "create_sandbox", "arguments": {}})
        assert [answer["result"]["structuredContent"]["sandbox_id"]] == living(home)
        server.send_signal(number)
        assert server.wait(WITHIN_S) == code
        eventually(lambda: not living(home), WITHIN_S)


def test_a_client_that_goes_while_it_is_answered_leaves_no_traceback(
    home: Path, words: list[str]
) -> None:
    with _begun(home, words) as server:
        server.stdout.close()
        server.stdin.write('{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}\n')
        server.stdin.close()
        assert (server.wait(WITHIN_S), server.stderr.read()) == (141, "")


def _begun(home: Path, words: list[str]) -> Any:
    """A server whose client has said hello."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "VOLANT_HOME": str(home)}
    server = subprocess.Popen(
        [VOLANT, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )
    _say(server, 1, "initialize", {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    })  # fmt: skip
    _say(server, None, "notifications/initialized", {})
    return server


def _say(server: Any, number: int | None, method: str, params: object) -> Any:
    """Say something to a server; its answer if there is one."""
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    server.stdin.write(json.dumps(message if number is None else {**message, "id": number}) + "\n")
    server.stdin.flush()
    return None if number is None else json.loads(server.stdout.readline())


def test_what_is_wrong_on_its_command_line_is_said_at_once(home: Path) -> None:
    run = run_volant("mcp", "--image", "no such image", home=home)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("error: ")
