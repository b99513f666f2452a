"""Gives a sandbox's network its only way out: listeners, to which the kernel leads what leaves it.

    launcher --fork--> helper: enters the sandbox's network as its root, makes the sockets and the
                       rules, writes whom the sandbox has to trust, hands the sockets over

What listens is the daemon's alone: nothing in the sandbox has the sockets, or rights over rules.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from contextlib import suppress

from volant.runner import linux
from volantd.runtime import template
from volantd.runtime.outlets import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Connections of one sandbox that wait to be accepted.
BACKLOG = 128
#: What is written of an authority: itself, and behind everybody whom images trust.
DIRECTORY = "/etc/volant"
CERTIFICATE, BUNDLE = f"{DIRECTORY}/ca.pem", f"{DIRECTORY}/ca-bundle.pem"
#: Where systems have the certificates that they trust.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
)  # fmt: skip
#: How many sockets a sandbox has: see `make_sockets`.
SOCKETS = 4
BUNDLE_BYTES_MAX = 8 << 20
#: An address that nobody has; and how long a rule is waited for that leads from there.
CHECKED, CHECK_TIMEOUT_S = ("192.0.2.1", 9), 2.0
_V6ONLY = 26


def start(request: dict[str, Any], report_fd: int, fds: list[int]) -> NoReturn:
    """Wire the sandbox that a request names; never returns.

    Args:
        request: `certificate` of its authority, as PEM; "" for none. `listens`: whether there are
            to be listeners. `group`: for what processes of one control group send alone, its
            directory; None for all that are in this network.
        report_fd: is closed when it is done; gets `error TEXT` should it fail.
        fds: a pidfd of the sandbox, and a socket to which the listeners go.
    """
    container_fd, agent_fd = fds
    group: tuple[int, int] | None = None
    try:
        if request["group"] is not None:
            group = _join(request["group"])
        trusted = _bundle() if request["certificate"] else b""
        names = linux.CLONE_NEWUSER | linux.CLONE_NEWNET | linux.CLONE_NEWNS
        linux.setns(container_fd, names)
        os.close(container_fd)
        if os.geteuid() != 0:  # of the sandbox: host's root is nobody in there
            with suppress(OSError):  # a user of its own namespace has no groups to give up
                os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        sockets = make_sockets() if request["listens"] else []
        if sockets:
            ports = {
                socket.IPPROTO_TCP: sockets[0].getsockname()[1],
                socket.IPPROTO_UDP: sockets[2].getsockname()[1],
            }
            netlink.lead_out_to(ports, group)
        if group is not None:
            _see_to_it(sockets[0])
        if request["certificate"]:
            _write(request["certificate"].encode(), trusted)
        rights = array("i", [sock.fileno() for sock in sockets])
        with socket.socket(fileno=agent_fd) as agent:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if sockets else []
            agent.sendmsg([b"+"], ancillary)
        os.close(report_fd)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        with suppress(OSError):
            template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(1)


def _join(directory: str) -> tuple[int, int]:
    """Enter a control group of version 2; its id and level."""
    with open(f"{directory}/cgroup.procs", "wb", buffering=0) as procs:
        procs.write(b"0")
    level, above = 0, os.path.dirname(directory)
    while os.path.exists(f"{above}/cgroup.procs"):
        level, above = level + 1, os.path.dirname(above)
    return os.stat(directory).st_ino, level


def _see_to_it(listener: socket.socket) -> None:
    """Connect to where only a rule leads to a listener, as what that rule is for.

    Kernels disagree about where levels are counted from, and some cannot tell groups: then all
    would be sent the way of the sandbox itself.

    Raises:
        OSError: it was not led there.
    """
    listener.settimeout(CHECK_TIMEOUT_S)
    with socket.socket() as near:
        near.settimeout(CHECK_TIMEOUT_S)
        near.connect(CHECKED)
        far, address = listener.accept()
        far.close()
        if address != near.getsockname():
            raise OSError(errno.ENOTSUP, "this kernel does not tell its processes from others")
    listener.setblocking(True)


def make_sockets() -> list[socket.socket]:
    """Listeners for connections, and sockets for questions, of IPv4 and IPv6 each."""
    made = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        port = 0
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _V6ONLY, 1)
            sock.bind((host, port))
            port = sock.getsockname()[1]
            if kind == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
            made.append(sock)
    return made


def _bundle() -> bytes:
    """Whom some system trusts; empty when it is nobody."""
    for path in SYSTEM_BUNDLES:
        with suppress(OSError), open(path, "rb") as source:
            return source.read(BUNDLE_BYTES_MAX)
    return b""


def _write(certificate: bytes, trusted: bytes) -> None:
    """Write an authority where the sandbox's programs look for whom to trust.

    Args:
        trusted: whom this machine trusts, for images that trust nobody.
    """
    own = _bundle()
    os.makedirs(DIRECTORY, 0o755, exist_ok=True)
    for path, content in ((CERTIFICATE, certificate), (BUNDLE, (own or trusted) + certificate)):
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o644), "wb") as target:
            target.write(content)
    for path in SYSTEM_BUNDLES:
        with suppress(OSError), open(path, "ab") as target:
            target.write(b"\n" + certificate)
            return
