"""Calls that the kernel holds until a supervisor has decided, and the memory of who made them.

    receive -> HeldCall -> look into its memory, take its descriptor -> is it still there? -> answer

Owns the structures of the kernel. A process that makes such a call can be hostile: it may have
more than one thread, change its memory meanwhile, hand the listener to somebody else, or die; a
process id may then be another's. Whoever acts on what it read asks `is_there` in between.

Source: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html
"""

from __future__ import annotations

import _signal
import _socket
import ctypes
import fcntl
import os
from _struct import Struct
from errno import EFAULT, EINVAL, ENOENT

from volant.runner import linux

#: Another reader may take a call under our hands. Then there is none, and the kernel would wait.
RECEIVE_WITHIN_S = 0.05

_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_IS_THERE, _SET_FLAGS = 0x40082102, 0x40082104
_SYNCHRONOUS = 1
_CALL, _REPLY, _NUMBER = Struct("=QIIiIQ6Q"), Struct("=QqiI"), Struct("=Q")
_CONTINUE = 1
_OFFSET_MAX = (1 << 63) - 1
#: The flag of `pidfd_open` that takes any thread (Linux 6.9).
_THREAD = os.O_EXCL


class HeldCall:
    """A call that is held."""

    __slots__ = ("arguments", "number", "pid", "token")

    def __init__(self, raw: bytearray) -> None:
        self.token, self.pid, _, self.number, _, _, *self.arguments = _CALL.unpack(raw)


def prepare(listener: int) -> None:
    """Have whoever calls and whoever decides take turns on one processor, where the kernel can.

    Raises:
        ValueError: for what is no listener.
    """
    try:
        fcntl.ioctl(listener, _IS_THERE, _NUMBER.pack(0))
    except OSError as error:
        if error.errno != ENOENT:  # there is no such call
            raise ValueError(f"descriptor {listener} tells of no calls: {error}") from None
    try:
        fcntl.ioctl(listener, _SET_FLAGS, _SYNCHRONOUS)
    except OSError:
        pass  # before Linux 6.6


def receive(listener: int) -> HeldCall | None:
    """The next call that is held; None if there is none, whatever was said.

    Takes the alarm of this process, which must have a handler that does nothing.
    """
    raw = bytearray(_CALL.size)
    space = (ctypes.c_char * len(raw)).from_buffer(raw)
    _signal.setitimer(_signal.ITIMER_REAL, RECEIVE_WITHIN_S, RECEIVE_WITHIN_S)
    try:
        linux.ioctl(listener, _RECEIVE, ctypes.addressof(space))
    except OSError:
        return None  # its process has died meanwhile, or another reader has it
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
    return HeldCall(raw)


def is_there(listener: int, call: HeldCall) -> bool:
    """Whether a call is still held, so that its process id has always been its."""
    try:
        fcntl.ioctl(listener, _IS_THERE, _NUMBER.pack(call.token))
    except OSError:
        return False
    return True


def let(listener: int, call: HeldCall) -> None:
    """Have the kernel do what the process asked for."""
    _reply(listener, call, 0, _CONTINUE)


def answer(listener: int, call: HeldCall, error: int) -> None:
    """Return from the call with an errno, or 0."""
    _reply(listener, call, -error, 0)


def _reply(listener: int, call: HeldCall, error: int, flags: int) -> None:
    try:
        fcntl.ioctl(listener, _ANSWER, _REPLY.pack(call.token, 0, error, flags))
    except OSError:
        pass  # its process is gone


def read(pid: int, at: int, size: int) -> bytes:
    """Read memory of a process.

    Raises:
        OSError: there is none, or not all of it may be looked at.
    """
    if at > _OFFSET_MAX:
        raise OSError(EFAULT, os.strerror(EFAULT), hex(at))
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, at)
    finally:
        os.close(fd)


def write(pid: int, at: int, data: bytes) -> None:
    """Write to memory of a process, also to what it only reads itself."""
    fd = os.open(f"/proc/{pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, at)
    finally:
        os.close(fd)


def take_socket(pid: int, fd: int) -> _socket.socket:
    """A socket of a process, as one of ours beside it.

    Raises:
        OSError: it has no such descriptor, or it is no socket.
    """
    pidfd = _open_process(pid)
    try:
        taken = linux.pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)
    try:
        return _socket.socket(fileno=taken)
    except OSError:
        os.close(taken)
        raise


def _open_process(pid: int) -> int:
    """A descriptor of the process that a thread belongs to."""
    try:
        return linux.pidfd_open(pid, _THREAD)
    except OSError as error:
        if error.errno != EINVAL:
            raise
    with open(f"/proc/{pid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"Tgid:"):
                return linux.pidfd_open(int(line[5:]))
    raise ProcessLookupError(f"process {pid} has no group")
