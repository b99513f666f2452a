"""Training that is killed and goes on: its checkpoints lie on a volume.

$ volant run examples/training_with_checkpoints.py
killed after epoch 4
went on from epoch 4
loss 0.0008 after 10 epochs
"""

import json
import os
import signal

import volant

app = volant.App("training-with-checkpoints")
volume = volant.Volume.from_name("training-with-checkpoints", create_if_missing=True)
CHECKPOINT = "/checkpoints/latest.json"


def load() -> dict[str, float]:
    if not os.path.exists(CHECKPOINT):
        return {"epoch": 0, "weight": 0.0}
    with open(CHECKPOINT) as file:
        return json.load(file)


def save(state: dict[str, float]) -> None:
    with open(CHECKPOINT + ".new", "w") as file:
        json.dump(state, file)
    os.replace(CHECKPOINT + ".new", CHECKPOINT)  # there is never half a checkpoint
    volume.commit()


@app.function(volumes={"/checkpoints": volume})
def train(epochs: int, die_after: int = 0) -> tuple[int, float]:
    """Fit y = 2 x by gradient descent; returns where it began, and the loss."""
    state = load()
    begun = int(state["epoch"])
    for epoch in range(begun, epochs):
        gradient = sum(2 * x * (state["weight"] * x - 2 * x) for x in (0.5, 1.0, 1.5)) / 3
        state = {"epoch": epoch + 1, "weight": state["weight"] - 0.15 * gradient}
        save(state)
        if epoch + 1 == die_after:
            os.kill(os.getpid(), signal.SIGKILL)  # a crash, or a machine that is taken away
    return begun, sum((state["weight"] * x - 2 * x) ** 2 for x in (0.5, 1.0, 1.5)) / 3


@app.local_entrypoint()
def main() -> None:
    if volume.listdir("/"):
        volume.remove_file("/", recursive=True)
    # The platform runs a lost input again; here the second run goes on from the checkpoint.
    begun, loss = train.remote(epochs=10, die_after=4)
    print("killed after epoch 4")
    print("went on from epoch", begun)
    print(f"loss {loss:.4f} after 10 epochs")
