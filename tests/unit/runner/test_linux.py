"""Calls of Linux that not every Python has."""

from __future__ import annotations

import os
import select
import signal
import subprocess

import pytest

from volant.runner import linux


def test_a_process_is_ended_and_awaited_by_its_descriptor() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    fd = linux.pidfd_open(process.pid)
    try:
        assert not os.get_inheritable(fd)
        linux.pidfd_send_signal(fd, signal.SIGKILL)
        assert select.select([fd], [], [], 10.0)[0]
        assert process.wait() == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            linux.pidfd_send_signal(fd, signal.SIGKILL)
        with pytest.raises(ProcessLookupError):
            linux.pidfd_open(process.pid)
    finally:
        os.close(fd)
        assert process.stdin is not None
        process.stdin.close()
