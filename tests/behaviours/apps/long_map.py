"""Maps over `count` inputs of `duration` seconds each and prints every result as it comes."""

from __future__ import annotations

import sys
import time

import volant

app = volant.App("long-map")


@app.function(max_containers=2)
def wait_and_double(value: int, duration_s: float) -> int:
    time.sleep(duration_s)
    return 2 * value


def main(count: int, duration_s: float) -> None:
    with app.run():
        print("running", flush=True)
        results = wait_and_double.map(range(count), kwargs={"duration_s": duration_s})
        for result in results:
            print(result, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
