"""Callers have one digit each, the model is asked for many at a time: dynamic batching.

$ volant run examples/digit_batches.py
1,797 callers, 99.1% were answered right
the model was asked for 64 digits at a time when many came, and for 1 when one came
"""

import volant

packages = ["scikit-learn==1.7.2", "numpy==2.2.6", "scipy==1.15.3"]
image = volant.Image.debian_slim().uv_pip_install(packages)
app = volant.App("digit-batches", image=image)

with image.imports():
    from sklearn import datasets, neighbors


@app.cls(enable_memory_snapshot=True, max_containers=1)
class Classifier:
    """Recognizes digits; `classify` takes one of each caller and is run for several."""

    @volant.enter(snap=True)
    def train(self) -> None:
        digits = datasets.load_digits()
        self.model = neighbors.KNeighborsClassifier(algorithm="brute")
        self.model.fit(digits.data, digits.target)

    @volant.batched(max_batch_size=64, wait_ms=20)
    def classify(self, digits: list[list[float]]) -> list[tuple[int, int]]:
        """For each digit what it is, and how many digits the model was asked for at once."""
        return [(int(label), len(digits)) for label in self.model.predict(digits)]


@app.function()
def load() -> tuple[list[list[float]], list[int]]:
    digits = datasets.load_digits()
    return digits.data.tolist(), digits.target.tolist()


@app.local_entrypoint()
def main() -> None:
    digits, wanted = load.remote()
    classify = Classifier().classify
    answers = list(classify.map(digits))  # the same as so many callers with one digit each
    right = sum(label == want for (label, _), want in zip(answers, wanted, strict=True))
    print(f"{len(digits):,} callers, {right / len(digits):.1%} were answered right")
    most = max(count for _, count in answers)
    _, alone = classify.remote(digits[0])
    print(f"the model was asked for {most} digits at a time when many came, ", end="")
    print(f"and for {alone} when one came")
