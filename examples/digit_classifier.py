"""Handwritten digits are recognized by containers that start with the trained model in memory.

$ volant run examples/digit_classifier.py
learned from 1,347 digits, right for 448 of 450 others

   *.
  *#
  #
  *
  **#*
  #.  *
  **.**
   *#.

that is a 6, says a container that has not trained itself: True
"""

import os

import volant

packages = ["scikit-learn==1.7.2", "numpy==2.2.6", "scipy==1.15.3"]
image = volant.Image.debian_slim().uv_pip_install(packages)
app = volant.App("digit-classifier", image=image)

with image.imports():
    from sklearn import datasets, model_selection, svm


@app.cls(enable_memory_snapshot=True)
class Classifier:
    """Knows digits as soon as a container starts."""

    @volant.enter(snap=True)
    def train(self) -> None:  # once, in the template that all containers are forked from
        digits = datasets.load_digits()
        split = model_selection.train_test_split(digits.data, digits.target, random_state=0)
        self.known, self.others, labels, self.wanted = split
        self.model = svm.SVC(gamma=0.001).fit(self.known, labels)
        self.trained_by = os.getpid()

    @volant.method()
    def test(self) -> str:
        right = sum(self.model.predict(self.others) == self.wanted)
        return f"learned from {len(self.known):,} digits, right for {right} of {len(self.others)}"

    @volant.method()
    def classify(self, index: int) -> tuple[list[list[float]], int, bool]:
        pixels = self.others[index]
        [label] = self.model.predict([pixels])
        return pixels.reshape(8, 8).tolist(), int(label), self.trained_by != os.getpid()


@app.local_entrypoint()
def main() -> None:
    print(Classifier().test.remote(), "others")
    pixels, label, was_ready = Classifier().classify.remote(4)
    print("", *("".join(" .*#"[int(x) // 5] for x in row).rstrip() for row in pixels), "", sep="\n")
    print(f"that is a {label}, says a container that has not trained itself: {was_ready}")
