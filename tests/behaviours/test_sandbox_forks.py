"""Copies of sandboxes with all that runs in them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests import criu
from tests.behaviours.image_builds import bare_image
from tests.behaviours.programs import at_home
from tests.behaviours.shells import shell
from tests.support import daemon_pid, eventually, stop_daemon
from volant.errors import AlreadyExistsError, Error, ExecutionError, InvalidError, NotFoundError
from volant.runner.isolate import SANDBOX_CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can copy processes")

#: Counts in memory as fast as lines come in, and says how far it is.
COUNTER = """
import os
big = bytearray(os.urandom(1 << 20)) * 8
n = sum(big[:0])
open("/tmp/begun", "w").close()
while line := input():
    n += 1
    print(n, line, hash(bytes(big)), flush=True)
raise SystemExit(7)
"""
SERVER = """
import http.server, socket, threading
served = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=served.serve_forever).start()
kept = socket.create_connection(("127.0.0.1", 8000))
open("/tmp/begun", "w").close()
input()
try:
    kept.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(kept.recv(8).decode() or "closed", flush=True)
except OSError:
    print("closed", flush=True)
"""
GET = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/').status)"


@pytest.fixture(scope="module")
def criu_path() -> str:
    try:
        return criu.find()
    except criu.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory, criu_path: str) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("forks")
    made.chmod(0o700)
    try:
        with at_home(made, VOLANT_CRIU_PATH=criu_path):
            yield made
    finally:
        stop_daemon(made)


@pytest.fixture
def app(home: Path) -> volant.App:
    return volant.App.lookup("of-forks", create_if_missing=True)


def _sandbox(app: volant.App, *words: str, **options) -> volant.Sandbox:
    return volant.Sandbox.create(*words, app=app, **{"block_network": True, **options})


def _begun(sandbox: volant.Sandbox) -> volant.Sandbox:
    shell(sandbox, "while [ ! -e /tmp/begun ]; do sleep 0.01; done")
    return sandbox


def _tell(sandbox: volant.Sandbox, line: str) -> str:
    """What a program prints when it gets a line."""
    sandbox.stdin.write(line + "\n")
    sandbox.stdin.drain()
    return next(iter(sandbox.stdout))


def test_a_copy_goes_on_with_the_memory_and_files_and_each_is_its_own(app: volant.App) -> None:
    first = _begun(_sandbox(app, "python3", "-c", COUNTER, tags={"user": "ada"}))
    _, _, seen = [_tell(first, word).split() for word in ("one", "two", "three")]
    shell(first, "echo before > /root/file; rm /etc/passwd; ln -s file /root/link")
    second = first.fork(name="copy")
    third = second.fork()
    shell(first, "echo changed > /root/file")
    assert _tell(second, "here").split() == ["4", "here", seen[2]]
    assert _tell(second, "again").split()[:2] == ["5", "again"]
    assert _tell(first, "there").split() == ["4", "there", seen[2]]
    assert _tell(third, "third").split() == ["4", "third", seen[2]]
    look = "cat /root/link; test -e /etc/passwd || echo no users"
    for sandbox, word in ((first, "changed"), (second, "before"), (third, "before")):
        assert shell(sandbox, look) == f"{word}\nno users\n"
    assert second.get_tags() == {"user": "ada"}
    assert volant.Sandbox.from_name("of-forks", "copy").object_id == second.object_id
    second.stdin.write("\n")
    second.stdin.drain()
    assert second.wait() == 7
    first.terminate(wait=True)
    assert _tell(third, "on").split()[:2] == ["5", "on"]
    third.exec("sh", "-c", "kill -9 $(pgrep -f SystemExit)")
    assert third.wait() == 137


def test_what_runs_beside_the_program_is_copied(app: volant.App) -> None:
    first = _sandbox(app)
    first.exec("sh", "-c", "(while :; do echo x; sleep 0.02; done | cat >> /tmp/lines) &").wait()
    first.exec("sh", "-c", "while :; do sleep 0.02; echo x >> /tmp/more; done")
    shell(first, "until [ -s /tmp/lines -a -s /tmp/more ]; do sleep 0.01; done")
    for sandbox in (first, first.fork(), first.fork().fork()):
        for name in ("lines", "more"):
            grows = f"n=$(wc -c < /tmp/{name}); until [ $(wc -c < /tmp/{name}) -gt $n ]; do :; done"
            shell(sandbox, grows)


def test_servers_and_threads_go_on_and_connections_are_closed(app: volant.App) -> None:
    first = _begun(_sandbox(app, "python3", "-c", SERVER))
    second = first.fork()
    for sandbox, kept in ((first, "HTTP/1.0"), (second, "closed")):
        process = sandbox.exec("python3", "-c", GET)
        assert process.stdout.read() == "200\n", process.stderr.read()
        assert _tell(sandbox, "now") == f"{kept}\n"


def test_a_copy_is_confined_and_limited_as_the_first_one(app: volant.App) -> None:
    eater = "input(); print(len(bytearray(600 << 20)))"
    first = _sandbox(app, "python3", "-c", "open('/tmp/begun', 'w');" + eater, memory=(64, 256))
    second = _begun(first).fork()
    look = (
        "for p in /proc/[0-9]*; do grep -q bytearray $p/cmdline && cd $p; done;"
        "grep -E '^(Cap|Seccomp|NoNewPrivs|Uid|Gid|Groups)' status; cat limits oom_score_adj"
    )
    confined = shell(first, look)
    bits = sum(1 << number for number in SANDBOX_CAPABILITIES)
    assert f"CapBnd:\t{bits:016x}" in confined and "Seccomp:\t2" in confined
    assert shell(second, look) == confined
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    assert second.exec("python3", "-c", reach).wait() == 1
    second.stdin.write("\n")
    second.stdin.drain()
    assert second.wait() == 137
    assert first.poll() is None


def test_a_copy_has_the_secrets_and_no_memory_is_left_on_the_disk(
    app: volant.App, home: Path
) -> None:
    secret = volant.Secret.from_dict({"TOKEN": "hidden-from-logs"})
    program = "open('/tmp/begun', 'w'); input(); import os; print(os.environ['TOKEN'], flush=True)"
    first = _sandbox(app, "python3", "-c", program, secrets=[secret])
    second = _begun(first).fork()
    assert second.exec("sh", "-c", "echo $TOKEN").stdout.read() == "hidden-from-logs\n"
    assert _tell(second, "now") == "hidden-from-logs\n"
    assert [entry.message for entry in second.logs.tail()] == ["***"]
    assert not [*home.glob("run/*/copies/*")]


def test_a_paused_sandbox_can_be_copied_and_stays_paused(app: volant.App) -> None:
    first = _begun(_sandbox(app, "python3", "-c", COUNTER))
    first.pause()
    second = first.fork()
    assert _tell(second, "here").split()[0] == "1"
    with pytest.raises(ExecutionError, match="is paused"):
        first.exec("true")
    first.resume()
    assert _tell(first, "there").split()[0] == "1"


def test_a_sandbox_of_an_image_without_python_is_copied(app: volant.App) -> None:
    counting = "n=0; while read line; do n=$((n+1)); echo $n $line; done"
    with bare_image("forks", {"config": {}}) as bare:
        image = bare.run_commands("mkdir -p /srv/dir; echo x > /srv/file; ln -s dir /srv/d")
        first = _sandbox(app, "sh", "-c", counting, image=image)
        assert _tell(first, "one") == "1 one\n"
        shell(first, "rm /srv/file; echo own > /srv/d/own; rm -r /srv/d; mkdir -p /srv/d/new")
        snapshot = first._experimental_snapshot()
        for sandbox in (first.fork(), volant.Sandbox._experimental_from_snapshot(snapshot)):
            assert _tell(sandbox, "two") == "2 two\n"
            assert shell(sandbox, "cd /srv; echo * */*") == "d dir d/new dir/own\n"


def test_a_copy_trusts_who_stands_in_for_domains(app: volant.App) -> None:
    policy = volant.experimental.OutboundPolicy().with_header_replacement(
        domain="api.nowhere.invalid", headers={"Authorization": "Bearer x"}
    )
    fetching = (
        "import ssl, urllib.error, urllib.request; trusted = ssl.create_default_context()\n"
        "open('/tmp/begun', 'w')\n"
        "input()\n"
        "try: urllib.request.urlopen('https://api.nowhere.invalid', context=trusted)\n"
        "except urllib.error.HTTPError as error: print(error.code, flush=True)\n"
        "except Exception as error: print(error, flush=True)\n"
    )
    first = _sandbox(
        app, "python3", "-c", fetching, block_network=False,
        outbound_domain_allowlist=["api.nowhere.invalid"], _experimental_outbound_policy=policy,
    )  # fmt: skip
    snapshot = _begun(first)._experimental_snapshot()
    for sandbox in (first.fork(), volant.Sandbox._experimental_from_snapshot(snapshot), first):
        assert _tell(sandbox, "go") == "502\n"


def test_what_cannot_be_copied_says_why(app: volant.App) -> None:
    _sandbox(app, name="taken")
    with pytest.raises(AlreadyExistsError):
        _sandbox(app).fork(name="taken")
    with pytest.raises(InvalidError, match="this machine's") as raised:
        volant.Sandbox.create(app=app).fork()
    assert "block_network=True" in str(raised.value.hint)
    with pytest.raises(InvalidError, match="terminal"):
        _sandbox(app, "cat", pty=True).fork()
    volume = volant.Volume.from_name("forked", create_if_missing=True)
    with pytest.raises(InvalidError, match="volumes"):
        _sandbox(app, volumes={"/data": volume}).fork()
    ended = _sandbox(app, "true")
    ended.wait()
    with pytest.raises(ExecutionError, match="has finished"):
        ended.fork()


def test_without_criu_a_copy_is_refused_and_the_sandbox_goes_on(
    own_home: Path, tmp_path: Path
) -> None:
    with at_home(own_home, VOLANT_CRIU_PATH=str(tmp_path)):
        app = volant.App.lookup("without", create_if_missing=True)
        sandbox = _sandbox(app)
        with pytest.raises(ExecutionError, match="CRIU, which is not in") as raised:
            sandbox.fork()
        assert "criu_path" in str(raised.value.hint)
        assert shell(sandbox, "echo on") == "on\n"


def test_sandboxes_are_made_of_a_memory_snapshot_also_when_the_first_one_has_ended(
    app: volant.App, home: Path
) -> None:
    first = _begun(_sandbox(app, "python3", "-c", COUNTER, _experimental_enable_snapshot=True))
    _tell(first, "one")
    shell(first, "echo before > /root/file; rm /etc/passwd; echo shared > /dev/shm/file")
    snapshot = first._experimental_snapshot()
    shell(first, "echo changed > /root/file")
    assert _tell(first, "goes on").split()[0] == "2"
    first.terminate(wait=True)
    found = volant.SandboxSnapshot.from_id(snapshot.object_id)
    made = [volant.Sandbox._experimental_from_snapshot(found, name=f"s{n}") for n in (1, 2)]
    look = "cat /root/file /dev/shm/file; stat -c %u /root/file; test -e /etc/passwd || echo none"
    for sandbox in made:
        assert _tell(sandbox, "two").split()[:2] == ["2", "two"]
        assert shell(sandbox, look) == "before\nshared\n0\nnone\n"
    again = made[0]._experimental_snapshot()
    third = volant.Sandbox._experimental_from_snapshot(again)
    assert _tell(third, "three").split()[:2] == ["3", "three"]
    kept = [path for path in home.glob("run/*/copies") if path.stat().st_mode & 0o077 == 0]
    assert len(kept) == 1 and len(os.listdir(kept[0])) >= 2
    with pytest.raises(AlreadyExistsError):
        volant.Sandbox._experimental_from_snapshot(found, name="s1")
    with pytest.raises(NotFoundError, match="7 days"):
        volant.SandboxSnapshot.from_id("sn-" + snapshot.object_id[3:][::-1])
    with pytest.raises(InvalidError, match="SandboxSnapshot"):
        volant.Sandbox._experimental_from_snapshot("sn-x")  # type: ignore[arg-type]


def _processes_with(mark: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if mark.encode() in path.read_bytes():
                found.append(path)
    return found


def test_a_daemon_that_is_killed_while_it_copies_leaves_nothing(
    own_home: Path, criu_path: str
) -> None:
    mark = "mark-of-a-copy"
    with at_home(own_home, VOLANT_CRIU_PATH=criu_path):
        app = volant.App.lookup("killed", create_if_missing=True)
        program = f"# {mark}\nbig = bytearray(b'x') * (200 << 20)\n{COUNTER}"
        sandbox = _begun(_sandbox(app, "python3", "-c", program))

        def fork() -> None:
            with suppress(Error):
                sandbox.fork()

        copying = threading.Thread(target=fork)
        copying.start()
        runs = own_home / "run"
        eventually(lambda: any(runs.glob("*/copies/*/*/pages-*.img")), every_s=0.001)
        run_ids = [path.name for path in runs.iterdir() if path.is_dir()]
        pid = daemon_pid(own_home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        copying.join()
        eventually(lambda: not _processes_with(mark), within_s=30)
        gone = Path("/sys/fs/cgroup")
        eventually(lambda: not any(any(gone.rglob(f"*{one}*")) for one in run_ids), within_s=30)
        eventually(lambda: not any((runs / one).exists() for one in run_ids), within_s=30)


def test_users_and_owners_are_copied(app: volant.App) -> None:
    """Also by a memory snapshot: who was another than root is, and has the same files."""
    become = "os.setgroups([7]); os.setresgid(44, 44, 44); os.setresuid(33, 33, 33)"
    reads = "while line := input(): print(os.getresuid(), open(line).read().strip(), flush=True)"
    begin = "open('/tmp/begun', 'w').write('mine'); os.chmod('/tmp/begun', 0o600)"
    first = _sandbox(app, "python3", "-c", f"import os; {become}; {begin}\n{reads}")
    shell(_begun(first), "echo shared > /srv/list; chown 0:7 /srv/list; chmod 640 /srv/list")
    kept = first._experimental_snapshot()
    for sandbox in (first, first.fork(), volant.Sandbox._experimental_from_snapshot(kept)):
        assert _tell(sandbox, "/tmp/begun") == "(33, 33, 33) mine\n"
        assert _tell(sandbox, "/srv/list") == "(33, 33, 33) shared\n"
        assert shell(sandbox, "stat -c '%a %u %g' /tmp/begun /srv/list") == "600 33 44\n640 0 7\n"
        look = "setpriv --reuid 5 --regid 5 --clear-groups cat /tmp/begun"
        assert sandbox.exec("sh", "-c", look).wait() == 1
        sandbox.terminate(wait=True)
