"""An agent with tools for files: it writes a program, sees it fail, and mends it, in a sandbox.

$ volant run examples/agent_with_file_tools.py
write_file /desk/primes.py -> 45 characters
run python3 primes.py -> NameError: name 'is_prime' is not defined
read_file /desk/primes.py -> print([n for n in range(20) if is_prime(n)])
write_file /desk/primes.py -> 115 characters
run python3 primes.py -> [2, 3, 5, 7, 11, 13, 17, 19]
list_files /desk -> primes.py
"""

import volant

PATH = "/desk/primes.py"
USE = "print([n for n in range(20) if is_prime(n)])\n"
MENDED = "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, n))\n" + USE

app = volant.App("agent")


def model(said: list[str]) -> tuple[str, ...] | None:
    """Which tool comes next, if any; a real model is sent what the others said, and chooses."""
    steps = [("write_file", PATH, USE), ("run", "python3 primes.py")]
    if any("NameError" in one for one in said):
        steps += [("read_file", PATH), ("write_file", PATH, MENDED), ("run", "python3 primes.py")]
    steps += [("list_files", "/desk")]
    return steps[len(said)] if len(said) < len(steps) else None


def use(sandbox: volant.Sandbox, tool: str, target: str, text: str = "") -> str:
    """What a tool says; mistakes of a model are something to read, and no end of the program."""
    files = sandbox.filesystem
    try:
        if tool == "write_file":
            files.write_text(text, target)
            return f"{len(text)} characters"
        if tool == "read_file":
            return files.read_text(target)
        if tool == "list_files":
            return ", ".join(file.name for file in files.list_files(target))
        process = sandbox.exec("sh", "-c", f"{target} 2>&1", workdir="/desk", timeout=30)
        return process.stdout.read()
    except volant.exception.Error as error:
        return f"{type(error).__name__}: {error}"


@app.local_entrypoint()
def main() -> None:
    sandbox = volant.Sandbox.create(app=app, workdir="/desk", block_network=True)
    said: list[str] = []
    while asked := model(said):
        said.append(use(sandbox, *asked))
        print(*asked[:2], "->", said[-1].strip().splitlines()[-1])
    sandbox.terminate()
