"""Which settings learn best? A class with parameters has containers of its own for each set.

$ volant run examples/parameter_sweep.py
radial      penalty 10.0   98.7%
polynomial  penalty 10.0   98.3%
the best one mistakes 12 digits, mostly 8 for 5
"""

import collections
import itertools
from enum import Enum

import volant

packages = ["scikit-learn==1.7.2", "numpy==2.2.6", "scipy==1.15.3"]
image = volant.Image.debian_slim().uv_pip_install(packages)
app = volant.App("parameter-sweep", image=image)

with image.imports():
    from sklearn import datasets, model_selection, svm

Kernel = Enum("Kernel", {"linear": "linear", "polynomial": "poly", "radial": "rbf"})


@app.cls(max_containers=1)
class Trial:
    """One set of settings."""

    kernel: Kernel = volant.parameter()
    penalty: float = volant.parameter(default=1.0)

    @volant.enter()
    def learn(self) -> None:
        """Learn half of the digits, and keep in this container what the others are taken for."""
        digits = datasets.load_digits(return_X_y=True)
        split = model_selection.train_test_split(*digits, train_size=0.5, random_state=0)
        known, others, labels, self.wanted = split
        model = svm.SVC(kernel=self.kernel.value, C=self.penalty).fit(known, labels)
        self.found = model.predict(others)

    @volant.method()
    def score(self) -> float:
        return float((self.found == self.wanted).mean())

    @volant.method()
    def mistakes(self) -> collections.Counter[str]:
        pairs = zip(self.wanted, self.found, strict=True)
        return collections.Counter(f"{one} for {other}" for one, other in pairs if one != other)


@app.local_entrypoint()
def main() -> None:
    sets = list(itertools.product(Kernel, (0.001, 0.1, 10.0)))
    trials = [Trial(kernel=kernel, penalty=penalty) for kernel, penalty in sets]
    scores = volant.FunctionCall.gather(*(trial.score.spawn() for trial in trials))
    best = sorted(range(len(sets)), key=scores.__getitem__, reverse=True)
    for kernel, penalty, score in [(*sets[index], scores[index]) for index in best[:2]]:
        print(f"{kernel.name:<10}  penalty {penalty:<5}  {score:.1%}")
    wrong = trials[best[0]].mistakes.remote()  # of the container that has learned it already
    print(f"the best one mistakes {wrong.total()} digits, mostly {wrong.most_common(1)[0][0]}")
