"""Sandboxes kept warm: each piece of code gets one that nobody used before, with its tools loaded.

$ volant run examples/warm_sandboxes.py
mean of [3, 1, 4, 1, 5]: 2.8
mean of [2, 7, 1, 8]: 4.5
mean of []: StatisticsError: mean requires at least one data point
"""

import json
import queue
import threading

import volant

#: Runs in each sandbox: imports what pieces of code need, and waits for the only one it will get.
READY = """
import json, statistics, sys
code, numbers = json.loads(sys.stdin.readline())
try:
    print(eval(code, {"statistics": statistics, "numbers": numbers}))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
WARM = 2

app = volant.App("warm-sandboxes")


class Pool:
    """Sandboxes made ahead, `WARM` of them at any time; each is used once."""

    def __init__(self) -> None:
        self._warm: queue.Queue[volant.Sandbox] = queue.Queue()
        for _ in range(WARM):
            self._add()

    def _add(self) -> None:
        limits = {"block_network": True, "memory": (32, 128), "timeout": 600}
        self._warm.put(volant.Sandbox.create("python3", "-c", READY, app=app, **limits))

    def run(self, *piece: object) -> str:
        """Run a piece of code in the sandbox that waits longest, and have another one made."""
        sandbox = self._warm.get()
        threading.Thread(target=self._add).start()
        sandbox.stdin.write(json.dumps(piece) + "\n")
        sandbox.stdin.drain()
        answer = sandbox.stdout.read()
        sandbox.terminate()
        return answer.strip()


@app.local_entrypoint()
def main() -> None:
    pool = Pool()
    for numbers in ([3, 1, 4, 1, 5], [2, 7, 1, 8], []):
        print(f"mean of {numbers}:", pool.run("statistics.mean(numbers)", numbers))
