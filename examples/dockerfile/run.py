"""An image that a Dockerfile describes: a program is compiled in one stage and called in the other.

$ volant run examples/dockerfile/run.py
below 10: 4 primes
below 1,000: 168 primes
below 10,000,000: 664,579 primes
the compiler is not in the image: True
"""

import shutil
import subprocess
from pathlib import Path

import volant

HERE = Path(__file__).parent
image = volant.Image.from_dockerfile(HERE / "Dockerfile", context_dir=HERE)
app = volant.App("dockerfile", image=image)


@app.function()
def primes(limit: int) -> int:
    told = subprocess.run(["primes", str(limit)], capture_output=True, text=True, check=True)
    return int(told.stdout)


@app.function()
def has(program: str) -> bool:
    return shutil.which(program) is not None


@app.local_entrypoint()
def main() -> None:
    limits = [10, 1_000, 10_000_000]
    for limit, found in zip(limits, primes.map(limits), strict=True):
        print(f"below {limit:,}: {found:,} primes")
    print(f"the compiler is not in the image: {not has.remote('tcc')}")
