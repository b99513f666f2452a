"""A model on a GPU that holds none while nobody asks, and is there again within a second.

$ volant run examples/gpu_inference.py
8 rows have their classes, says cuda
and the same ones in a container that was started anew

Needs a GPU, and `torch` where `volant` is installed. The weights are made here; a real program
would read them from a Volume. That happens once, and each container copies them to its device.
"""

import time

import torch

import volant

app = volant.App("gpu-inference")
WIDTH, DEPTH, CLASSES = 4096, 16, 1000


@app.cls(gpu="any", enable_memory_snapshot=True, scaledown_window=2)
class Classifier:
    """Rows of numbers, each of one class."""

    @volant.enter(snap=True)
    def load(self) -> None:
        """Runs once, without a GPU; containers are forked from what it leaves."""
        torch.manual_seed(7)
        layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, CLASSES)).eval()

    @volant.enter(snap=False)
    def place(self) -> None:
        """Runs in each container, which has its device by now."""
        self.model.to("cuda")

    @volant.method()
    def classify(self, seed: int, count: int) -> tuple[str, list[int]]:
        rows = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            scores = self.model(rows.to("cuda"))
        return scores.device.type, scores.argmax(dim=1).tolist()


@app.local_entrypoint()
def main() -> None:
    classify = Classifier().classify
    device, classes = classify.remote(seed=1, count=8)
    print(f"{len(classes)} rows have their classes, says {device}")
    while classify.get_current_stats().num_total_runners:
        time.sleep(0.1)  # the device is free again when nobody has asked for two seconds
    began = time.monotonic()
    _, again = classify.remote(seed=1, count=8)
    told = "the same" if again == classes else "other"
    print(f"and {told} ones in a container that was started anew")
    print(f"it took {time.monotonic() - began:.2f} s from nothing to the answer")
