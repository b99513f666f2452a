"""A function, called in its own container.

$ volant run examples/hello.py
squaring 7
7 squared is 49

$ volant run examples/hello.py --x 12
squaring 12
12 squared is 144
"""

import volant

app = volant.App("hello")


@app.function()
def square(x: int) -> int:
    print(f"squaring {x}")  # printed in the container, shown here
    return x * x


@app.local_entrypoint()
def main(x: int = 7) -> None:
    print(f"{x} squared is {square.remote(x)}")
