"""Containers beside others, in their network: what they share, and what is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import IMPORT_WITHIN_S
from volantd import lent
from volantd.agent.sandboxes.bases import lending_spec
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.containers.forked import SHARED_ADDRESS
from volantd.runtime.sandboxes.sidecars import NUMBER_MIN, Beside, Views

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.laboratory import Laboratory
    from volantd.runtime.client import Zygote
    from volantd.runtime.containers.forked import ForkedContainer

KINDS = ("net", "user", "mnt", "pid_for_children", "ipc", "uts")


@pytest.fixture(params=[False, True], ids=["shared", "blocked"])
def base(request: pytest.FixtureRequest, container_lab: Laboratory) -> Iterator[Zygote]:
    """One of sandboxes of this machine's files."""
    spec = lending_spec(lent.directory(str(container_lab.place)), block_network=request.param)
    made: Zygote = container_lab.run(container_lab.launcher.spawn_zygote(spec, os.urandom(4).hex()))
    container_lab.run(made.prepare([], None, {}, timeout_s=IMPORT_WITHIN_S))
    yield made
    container_lab.end(made)


def fork(lab: Laboratory, base: Zygote, beside: Beside | None = None) -> ForkedContainer:
    made: ForkedContainer = lab.run(base.fork(os.urandom(4).hex(), beside=beside))
    for fd in (made.stdout_fd, made.stderr_fd):
        os.close(fd)
    made.sdk.close()
    return made


def end(lab: Laboratory, *containers: ForkedContainer) -> None:
    for one in containers:
        one.channel.close()
        one.kill()
        lab.eventually(one.exited.done)


def namespaces(container: ForkedContainer) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{container.pid}/ns/{kind}") for kind in KINDS}


def test_it_shares_the_network_and_the_user_namespace_alone(
    container_lab: Laboratory, base: Zygote
) -> None:
    first = fork(container_lab, base)
    second = fork(container_lab, base, Beside(container=first))
    third = fork(container_lab, base, Beside(container=second))
    other = fork(container_lab, base)
    own, its = namespaces(first), namespaces(second)
    assert {kind for kind in KINDS if own[kind] == its[kind]} == {"net", "user"}
    assert namespaces(third)["net"] == own["net"], "beside one that is beside another"
    assert (namespaces(other)["net"] == own["net"]) is not base.spec.block_network
    assert first.address == second.address == third.address
    assert other.address != first.address or first.address in ("", SHARED_ADDRESS)
    end(container_lab, first, second, third, other)


def test_beside_one_that_has_ended_there_is_none(container_lab: Laboratory, base: Zygote) -> None:
    first = fork(container_lab, base)
    end(container_lab, first)
    with pytest.raises(RuntimeFailedError, match="its sandbox has ended"):
        container_lab.run(base.fork("late", beside=Beside(container=first)))
    end(container_lab, fork(container_lab, base))


@pytest.mark.parametrize("base", [True], indirect=True)
@pytest.mark.parametrize(
    "shown", [{"first": NUMBER_MIN, "count": 2}, {"first": -1, "count": 1}, {"count": 1 << 20}]
)
def test_what_no_base_shows_is_told(
    container_lab: Laboratory, base: Zygote, shown: dict[str, Any]
) -> None:
    first = fork(container_lab, base)
    with pytest.raises(RuntimeFailedError):
        container_lab.run(base.fork("wrong", beside=Beside(container=first, **shown)))
    end(container_lab, first, fork(container_lab, base, Beside(container=first)))


@pytest.mark.parametrize("base", [True], indirect=True)
def test_an_image_is_held_as_long_as_its_base(
    container_lab: Laboratory, base: Zygote, tmp_path: Path
) -> None:
    views, layer = Views(container_lab.launcher), tmp_path / "layer"
    layer.mkdir()
    tmp_path.chmod(0o755)
    files = [("note", 0o644, b"noted")]
    shown = container_lab.run(views.show(base, (str(layer),), files))
    assert shown == (NUMBER_MIN, 2)
    assert container_lab.run(views.show(base, (str(layer),), [])) == (NUMBER_MIN + 2, 2)
    assert (str(layer),) in container_lab.launcher.layers_in_use()
    with pytest.raises(ValueError, match="too much for a sidecar"):
        container_lab.run(views.show(base, (str(layer),) * 200, []))
    with pytest.raises(RuntimeFailedError, match="nothing was mounted"):
        container_lab.run(views.show(base, (str(tmp_path / "gone"),), []))
    first = fork(container_lab, base)
    beside = Beside(container=first, first=shown[0], count=shown[1])
    second = fork(container_lab, base, beside)
    root = f"/proc/{second.pid}/root"
    with open(f"{root}/root/note", encoding="ascii") as note:
        assert note.read() == "noted"
    assert not os.path.exists(f"{root}/usr")
    end(container_lab, first, second)
    base.kill()
    container_lab.eventually(base.exited.done)
    container_lab.eventually(lambda: (str(layer),) not in container_lab.launcher.layers_in_use())


def test_functions_have_none(container_lab: Laboratory) -> None:
    """A zygote that runs code of others makes no cell beside another."""
    zygote = container_lab.zygote(block_network=True)
    first = container_lab.fork(zygote)
    with pytest.raises(RuntimeFailedError, match="no such sidecar"):
        container_lab.run(zygote.fork("beside", beside=Beside(container=first.forked)))
    container_lab.end(zygote)
