"""An image whose packages are pinned: the same on every machine that builds it.

$ volant run examples/pinned_packages.py
numpy 2.2.6, pandas 2.3.3
mean 20.5 after 1 step
"""

import volant

image = volant.Image.debian_slim().uv_pip_install("numpy==2.2.6", "pandas==2.3.3")
app = volant.App("pinned-packages", image=image)

with image.imports():
    import numpy
    import pandas


@app.function()
def versions() -> str:
    return f"numpy {numpy.__version__}, pandas {pandas.__version__}"


@app.function()
def mean_after(steps: int, numbers: list[float]) -> float:
    """The mean of what is left when each number is followed by its mean with the next one."""
    series = pandas.Series(numbers)
    for _ in range(steps):
        series = series.rolling(2).mean().dropna()
    return float(numpy.mean(series))


@app.local_entrypoint()
def main() -> None:
    print(versions.remote())
    print(f"mean {mean_after.remote(1, [10.0, 21.0, 30.0]):.1f} after 1 step")
