"""An image of Debian with a program of its own, and a Python that is not the caller's.

$ volant run examples/debian_packages.py
jq says: 3 planets
the shell is dash, and Python is /usr/local/bin/python3
"""

import json
import os
import subprocess
import sys

import volant

image = volant.Image.debian_slim().apt_install("jq").env({"UNIT": "planets"})
app = volant.App("debian-packages", image=image)


@app.function()
def count(document: str) -> str:
    command = ["jq", "-r", '"\\(.planets | length) \\(env.UNIT)"']  # what jq is asked
    told = subprocess.run(command, input=document, capture_output=True, text=True, check=True)
    return told.stdout.strip()


@app.function()
def surroundings() -> tuple[str, str]:
    return os.path.basename(os.path.realpath("/bin/sh")), sys.executable


@app.local_entrypoint()
def main() -> None:
    print(f"jq says: {count.remote(json.dumps({'planets': ['Venus', 'Earth', 'Mars']}))}")
    shell, python = surroundings.remote()
    print(f"the shell is {shell}, and Python is {python}")
