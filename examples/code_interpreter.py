"""A code interpreter: pieces of Python that a model wrote, run one after the other in a sandbox.

$ volant run examples/code_interpreter.py
>>> total = sum(range(10))
>>> print(total)
45
>>> total / 0
ZeroDivisionError: division by zero
>>> print("still here:", total)
still here: 45
"""

import json

import volant

#: Runs in the sandbox: reads a piece of code a line, answers with what it printed.
LOOP = """
import contextlib, io, json, sys
names = {}
for line in sys.stdin:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), names)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=out)
    print(json.dumps(out.getvalue()), flush=True)
"""
PIECES = ["total = sum(range(10))", "print(total)", "total / 0", 'print("still here:", total)']

app = volant.App("interpreter")


@app.local_entrypoint()
def main() -> None:
    """What each piece leaves behind is there for the next; nothing of it is on this machine."""
    sandbox = volant.Sandbox.create(
        "python3", "-c", LOOP, app=app, block_network=True, memory=(64, 256), timeout=60
    )
    answers = iter(sandbox.stdout)
    for piece in PIECES:
        print(">>>", piece)
        sandbox.stdin.write(json.dumps(piece) + "\n")
        sandbox.stdin.drain()
        print(json.loads(next(answers)), end="")
    sandbox.terminate()
