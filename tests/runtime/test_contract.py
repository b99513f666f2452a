"""What the agent may rely on, on both rungs alike."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volant.wire import values
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote


def test_a_container_knows_its_id_and_the_agent_its_pid(container: Container) -> None:
    assert container.ask("result = container_id") == container.forked.container_id
    inside = container.ask("import os; result = os.readlink('/proc/self/ns/mnt')")
    assert os.readlink(f"/proc/{container.forked.pid}/ns/mnt") == inside


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(7)", 7 << 8),
        ("import os; os.kill(os.getpid(), 9)", signal.SIGKILL),
        ("import ctypes; ctypes.string_at(0)", signal.SIGSEGV),
        ("import os, signal; signal.signal(15, signal.SIG_DFL); os.abort()", signal.SIGABRT),
    ],
)
def test_how_a_container_ends_is_told(
    lab: Laboratory, shared_zygote: Zygote, code: str, expected: int
) -> None:
    forked = lab.fork(shared_zygote)
    with pytest.raises(ConnectionResetError):
        forked.ask(code)
    status = forked.wait()
    forked.close()
    assert status == expected


def test_it_is_known_where_a_container_writes_when_it_is_handed_out(
    lab: Laboratory, shared_zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own first word may be here before the zygote's."""
    told, loop = shared_zygote._on_forked, lab.runner.get_loop()
    monkeypatch.setattr(shared_zygote, "_on_forked", partial(loop.call_later, 0.2, told))
    forked = lab.fork(shared_zygote)
    assert os.path.isdir(forked.forked.scratch_path)
    forked.end()


def test_where_containers_of_two_templates_write_has_no_name_twice(
    container_lab: Laboratory,
) -> None:
    """By the name a file system decides where it lies: not where others were removed just now."""
    names = set()
    for _ in range(2):
        container = container_lab.fork(container_lab.zygote())
        names.add(os.path.basename(container.forked.scratch_path))
        container.end()
    assert len(names) == 2


def test_a_container_leaves_when_its_channel_is_closed(
    lab: Laboratory, shared_zygote: Zygote
) -> None:
    forked = lab.fork(shared_zygote)
    forked.close()
    assert forked.wait() == 0


def test_output_arrives_at_the_pipes_line_by_line(container: Container) -> None:
    container.ask("import sys; print('to out'); print('to err', file=sys.stderr)")
    assert os.read(container.forked.stdout_fd, 100) == b"to out\n"
    assert os.read(container.forked.stderr_fd, 100) == b"to err\n"


def test_what_the_import_printed_does_not_come_out_of_containers(lab: Laboratory) -> None:
    zygote = lab.zygote("import sys; sys.stdout.write('once, unfinished')")
    first, second = lab.fork(zygote), lab.fork(zygote)
    first.ask("print('mine')")
    second.ask("print('mine')")
    assert os.read(first.forked.stdout_fd, 100) == b"mine\n"
    assert os.read(second.forked.stdout_fd, 100) == b"mine\n"
    assert os.read(zygote.log_fd, 100) == b"once, unfinished"
    lab.end(zygote)
    first.close()
    second.close()


def test_the_sdk_channel_reaches_the_container(container: Container) -> None:
    container.forked.sdk.send(b"hello")
    code = "import socket; result = socket.socket(fileno=os.dup(sdk_fd)).recv(5)"
    assert container.ask("import os; " + code) == b"hello"


def test_sources_lie_in_the_working_directory(container: Container) -> None:
    assert container.ask("result = open('data/words.txt').read()") == "one two"


def test_the_working_directory_is_private_and_writable(
    lab: Laboratory, shared_zygote: Zygote, container: Container
) -> None:
    container.ask("open('notes.txt', 'w').write('mine')")
    container.ask("import tempfile; open(tempfile.gettempdir() + '/t', 'w').write('mine')")
    other = lab.fork(shared_zygote)
    seen = "import os, tempfile; result = os.listdir('.') + os.listdir(tempfile.gettempdir())"
    assert not {"notes.txt", "t"} & set(other.ask(seen))
    other.end()


def test_an_import_error_comes_back_as_the_fault_it_was(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    with pytest.raises(PrepareFailedError) as caught:
        lab.prepare(zygote, "raise LookupError('no such thing')")
    fault = values.decode_map(caught.value.fault)
    assert fault["type"] == "builtins.LookupError"
    assert fault["message"] == "no such thing"
    lab.end(zygote)


@pytest.mark.parametrize("leave", ["raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_an_import_that_leaves_is_a_fault_too(lab: Laboratory, leave: str) -> None:
    zygote = lab.bare_zygote()
    with pytest.raises(PrepareFailedError):
        lab.prepare(zygote, leave)
    lab.end(zygote)


def test_an_import_that_ends_the_process_is_told(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    with pytest.raises(RuntimeFailedError, match="status 5"):
        lab.prepare(zygote, "import os; os._exit(5)")
    assert lab.run(_value(zygote.exited)) == 5 << 8
    os.close(zygote.log_fd)


def test_an_import_that_forks_and_returns_twice_answers_once(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    answer = lab.prepare(zygote, "import os; os.fork()")
    assert answer["threads"] == []
    lab.fork(zygote).end()
    lab.end(zygote)


def test_threads_of_an_import_are_named(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    source = """
import threading
threading.Thread(target=threading.Event().wait, name="poller", daemon=True).start()
"""
    assert lab.prepare(zygote, source)["threads"] == ["poller"]
    lab.end(zygote)


def test_an_import_that_hangs_is_ended(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    work = zygote.prepare([], {"source": "import signal; signal.pause()"}, {}, timeout_s=0.3)
    with pytest.raises(RuntimeFailedError, match=r"longer than 0\.3 s"):
        lab.run(work)
    assert lab.run(_value(zygote.exited)) == signal.SIGKILL
    os.close(zygote.log_fd)


def test_a_zygote_can_be_prepared_later_with_large_sources(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    content = os.urandom(1 << 20) * 24
    files = [("deep/er/big.bin", 0o644, content), ("run.sh", 0o755, b"#!/bin/sh\n")]
    lab.prepare(zygote, "size = 1", files, {"GREETING": "hi"})
    forked = lab.fork(zygote)
    code = "import os, zlib; result = zlib.crc32(open('deep/er/big.bin','rb').read())"
    import zlib

    assert forked.ask(code) == zlib.crc32(content)
    assert forked.ask("result = os.access('run.sh', os.X_OK), os.environ['GREETING']") == (
        True,
        "hi",
    )
    forked.end()
    lab.end(zygote)


def test_sources_cannot_be_written_elsewhere(lab: Laboratory) -> None:
    for path in ("../outside.txt", "/outside.txt", "a/../../outside.txt"):
        zygote = lab.bare_zygote()
        with pytest.raises(PrepareFailedError):
            lab.prepare(zygote, "", [(path, 0o644, b"")])
        lab.end(zygote)


def test_math_libraries_are_single_threaded_only_in_the_zygote(lab: Laboratory) -> None:
    zygote = lab.bare_zygote(env={"OMP_NUM_THREADS": "3"})
    lab.prepare(
        zygote,
        "import os, builtins; builtins.seen = (os.environ['OPENBLAS_NUM_THREADS'],"
        " os.environ['OMP_NUM_THREADS'])",
    )
    forked = lab.fork(zygote)
    assert forked.ask("import builtins; result = builtins.seen") == ("1", "3")
    names = "('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS')"
    inside = forked.ask(f"import os; result = [os.environ.get(n) for n in {names}]")
    assert inside == [None, "3"]
    forked.end()
    lab.end(zygote)


def test_each_container_draws_random_numbers_of_its_own(
    lab: Laboratory, shared_zygote: Zygote
) -> None:
    containers = [lab.fork(shared_zygote) for _ in range(3)]
    drawn = {forked.ask("import random; result = random.random()") for forked in containers}
    for forked in containers:
        forked.end()
    assert len(drawn) == 3


def test_numpy_is_reseeded_and_has_one_thread(lab: Laboratory) -> None:
    pytest.importorskip("numpy", reason="numpy is not installed beside the tests")
    zygote = lab.bare_zygote()
    assert lab.prepare(zygote, "import numpy")["threads"] == []
    containers = [lab.fork(zygote) for _ in range(2)]
    code = "import numpy; result = float(numpy.random.random())"
    drawn = {forked.ask(code) for forked in containers}
    for forked in containers:
        forked.end()
    lab.end(zygote)
    assert len(drawn) == 2


def test_limits_on_files_hold(container: Container) -> None:
    with pytest.raises(Failed, match="Too many open files"):
        container.ask("kept = [open('/dev/null') for _ in range(300)]")
    container.ask("kept = None; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)")
    with pytest.raises(Failed, match="File too large"):
        container.ask("file = open('big', 'wb', buffering=0)\nwhile True: file.write(bytes(99999))")


def test_there_are_no_privileges_and_no_way_to_get_any(container: Container) -> None:
    code = "result = dict(line.split(':\\t') for line in open('/proc/self/status').read()"
    status = container.ask(code + ".splitlines() if ':\\t' in line)")
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_a_container_inherits_no_descriptor_but_its_own(container: Container) -> None:
    code = """
import os
result = {int(fd): os.path.lexists(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
"""
    there = {fd for fd, is_still_there in container.ask(code).items() if is_still_there}
    assert there == {0, 1, 2, *container.ask("result = [channel_fd, sdk_fd]")}


def test_a_failure_to_isolate_is_said_and_nothing_runs(lab: Laboratory) -> None:
    zygote = lab.zygote("")
    work = zygote.fork("c-bad", hostname="h", limits={"files": -5})
    with pytest.raises(RuntimeFailedError, match="c-bad"):
        lab.run(work)
    lab.fork(zygote).end()  # the zygote is none the worse
    lab.end(zygote)


def test_the_death_of_a_zygote_ends_its_containers(lab: Laboratory) -> None:
    zygote = lab.zygote("")
    forked = lab.fork(zygote)
    pid = forked.forked.pid
    lab.end(zygote)
    assert forked.wait() == signal.SIGKILL
    forked.close()
    lab.eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    with pytest.raises(RuntimeFailedError, match="dead"):
        lab.fork(zygote)


def test_what_a_container_started_ends_with_it(lab: Laboratory, shared_zygote: Zygote) -> None:
    """A daemon that left its session and its parent is found all the same."""
    forked = lab.fork(shared_zygote)
    mark = f"left-by-{forked.forked.container_id}"
    code = f"""
import os, subprocess, sys
here, there = os.pipe()
program = "import os, sys, signal; os.setsid(); os.write(1, b'x'); signal.pause()"
command = f"[sys.executable, '-c', {{program!r}}, {mark!r}]"
outer = f"import os, subprocess, sys; subprocess.Popen({{command}})"
subprocess.run([sys.executable, "-c", outer], stdout=there)
result = os.read(here, 1)
"""
    assert forked.ask(code) == b"x"
    assert _commands_with(lab, mark)
    forked.end()
    lab.eventually(lambda: not _commands_with(lab, mark))


def test_a_python_that_is_not_there_is_named(lab: Laboratory) -> None:
    with pytest.raises(RuntimeFailedError, match="/usr/no/such/python"):
        lab.bare_zygote(python="/usr/no/such/python")


def test_forks_at_once_all_arrive(lab: Laboratory, shared_zygote: Zygote) -> None:
    import asyncio

    async def many() -> list[Container]:
        return await asyncio.gather(*(lab.fork_async(shared_zygote) for _ in range(12)))

    containers = lab.run(many())
    assert len({forked.forked.pid for forked in containers}) == 12
    for forked in containers:
        assert forked.ask("result = container_id") == forked.forked.container_id
        forked.end()


@pytest.mark.parametrize(
    "nonsense",
    [b"\xff" * 64, b"\x02\0\0\0\x10\0\0\0\x83\xa1", b"\xff\xff\xff\x7f\x11\0\0\0", b"\0" * 8],
)
def test_a_zygote_that_sends_nonsense_is_ended(lab: Laboratory, nonsense: bytes) -> None:
    zygote = lab.bare_zygote()
    source = f"""
import os, signal, stat
for fd in range(3, 32):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, {nonsense!r})
    except OSError:
        pass
signal.pause()
"""
    with pytest.raises(RuntimeFailedError):
        lab.prepare(zygote, source)
    lab.run(_value(zygote.exited))
    os.close(zygote.log_fd)


@pytest.mark.slow
def test_a_hundred_starts_and_stops_leave_nothing(lab: Laboratory) -> None:
    zygote = lab.zygote("import random")
    lab.fork(zygote).end()
    before = _steady_holdings(lab)
    for number in range(100):
        forked = lab.fork(zygote)
        if number % 10 == 0:
            forked.ask("open('left.txt', 'w').write('x'); import os; os.makedirs('a/b/c')")
        forked.end()
    lab.eventually(lambda: len(_scratch(lab, zygote)) <= 1)
    lab.eventually(lambda: _holdings(lab) == before)
    lab.end(zygote)
    lab.eventually(lambda: not os.path.exists(zygote.state_dir))


async def _value(future):
    import asyncio

    return await asyncio.wait_for(asyncio.shield(future), 10)


def _scratch(lab: Laboratory, zygote: Zygote) -> list[str]:
    return os.listdir(os.path.join(zygote.state_dir, "scratch"))


def _processes_of(lab: Laboratory) -> set[int]:
    """Every process below the launcher, by parentage."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    todo = [lab.launcher._process.pid]
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo += [child for child, parent in parents.items() if parent == pid]
    return found


def _commands_with(lab: Laboratory, mark: str) -> list[int]:
    """Processes below the launcher that have `mark` among their arguments."""
    found = []
    for pid in _processes_of(lab):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as arguments:
                if mark.encode() in arguments.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue  # it ended while we looked
    return found


@pytest.mark.parametrize("name", ["a, b", "a:b", "a\\b", "a\tb c", "zürich-\u2602", "a\\:,b\n"])
def test_what_is_shown_may_have_any_name(container_lab: Laboratory, name: str) -> None:
    shown = container_lab.place / name
    shown.mkdir()
    (shown / "there").write_text("here")
    zygote = container_lab.bare_zygote(trees=(*container_lab.trees(), str(shown)))
    container_lab.prepare(zygote)
    container = container_lab.fork(zygote)
    assert container.ask(f"result = open({str(shown / 'there')!r}).read()") == "here"
    container.ask(f"open({str(shown / 'new')!r}, 'w').close()")
    container.end()
    assert os.listdir(shown) == ["there"]


def test_what_is_mounted_in_a_tree_is_shown_and_the_tree_may_still_be_changed(
    container_lab: Laboratory, tree_with_mounts: Path
) -> None:
    """So come drivers of GPUs, whose directories and files are mounted below /usr."""
    zygote = container_lab.bare_zygote(trees=(*container_lab.trees(), str(tree_with_mounts)))
    container_lab.prepare(zygote)
    container = container_lab.fork(zygote)
    container.ask(f"import os; os.chdir({str(tree_with_mounts)!r})")
    assert container.ask("result = open('library').read()") == "mounted"
    assert container.ask("result = open('driver/part').read()") == "part"
    container.ask("open('new', 'w').close(); os.mkdir('directory')")
    for name in ("library", "driver/new"):
        with pytest.raises(Failed, match="Read-only"):
            container.ask(f"open({name!r}, 'w')")
    container.end()
    assert sorted(os.listdir(tree_with_mounts)) == ["driver", "library"]


def _steady_holdings(lab: Laboratory) -> tuple[object, ...]:
    """What is held once nothing is made ahead or taken down any more: the same twenty times."""
    seen: list[tuple[object, ...]] = []

    def is_steady() -> bool:
        seen.append(_holdings(lab))
        return len(seen) >= 20 and all(held == seen[-1] for held in seen[-20:])

    lab.eventually(is_steady)
    return seen[-1]


def _holdings(lab: Laboratory) -> tuple[object, ...]:
    """What a start could leak: processes, descriptors, namespaces, mounts."""
    processes = _processes_of(lab)
    namespaces = set()
    descriptors = []
    for pid in processes:
        try:
            names = os.listdir(f"/proc/{pid}/ns")
            namespaces |= {os.readlink(f"/proc/{pid}/ns/{name}") for name in names}
            descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))
        except OSError:
            return ("one is just ending",)
    with open("/proc/self/mountinfo") as mounts:
        host_mounts = [line for line in mounts if str(lab.place) in line]
    ours = len(os.listdir("/proc/self/fd"))
    return len(processes), len(namespaces), sorted(descriptors), host_mounts, ours
