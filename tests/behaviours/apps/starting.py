"""A module whose import behaves as the variable START says; each value is a version of its own."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

import volant

app = volant.App("starting")
START = os.environ.get("START", "")

if not volant.is_local():
    if START == "slow":
        time.sleep(1.0)
    elif START == "never":
        time.sleep(600)
    elif START == "exit":
        os._exit(4)
    elif START == "crash":
        ctypes.string_at(0)
    elif START == "raise":
        raise ValueError("not with me")
    elif START == "print":
        print("importing")
    elif START == "thread":
        threading.Thread(target=threading.Event().wait, name="left running").start()
    elif START == "fork":
        if not os.fork():
            time.sleep(600)
            os._exit(0)
    elif START == "chdir":
        os.chdir("/tmp")
    elif START == "leave":
        sys.exit(3)


def place() -> tuple[str, str, list[str]]:
    """How the import went, where it runs, and which threads there are."""
    return START, os.getcwd(), [thread.name for thread in threading.enumerate()]


plain = app.function(name="plain")(place)
late = app.function(name="late", env={"START": "slow"}, timeout=0.5, startup_timeout=60)(place)
too_late = app.function(name="too_late", env={"START": "never"}, startup_timeout=0.05)(place)
as_late = app.function(name="as_late", env={"START": "never"}, timeout=0.06)(place)
exits = app.function(name="exits", env={"START": "exit"})(place)
crashes = app.function(name="crashes", env={"START": "crash"})(place)
raises = app.function(name="raises", env={"START": "raise"})(place)
leaves = app.function(name="leaves", env={"START": "leave"})(place)
prints = app.function(name="prints", env={"START": "print"})(place)
threads = app.function(name="threads", env={"START": "thread"})(place)
forks = app.function(name="forks", env={"START": "fork"})(place)
moves = app.function(name="moves", env={"START": "chdir"})(place)
