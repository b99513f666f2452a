"""A scientific stack with pinned versions: packages of Python beside a program of Debian.

$ volant run examples/scientific_stack.py
numpy 2.2.6, scipy 1.15.3
lake.nc holds 12 months, from 4.3 to 21.6 °C
a fit says: 12.8 °C ± 8.5 °C, warmest in the middle of month 8
"""

import math
import subprocess

import volant

image = (
    volant.Image.debian_slim()
    .apt_install("netcdf-bin")  # brings `ncgen`, which writes files of NetCDF
    .uv_pip_install("numpy==2.2.6", "scipy==1.15.3")
)
app = volant.App("scientific-stack", image=image)

with image.imports():
    import numpy
    import scipy

MONTHS = [5.0, 4.3, 5.6, 8.7, 13.1, 17.4, 20.6, 21.6, 19.9, 16.3, 12.4, 9.1]
LAKE = f"""netcdf lake {{
dimensions: month = {len(MONTHS)};
variables: double surface(month);
data: surface = {", ".join(map(str, MONTHS))};
}}
"""


def yearly(month: float, mean: float, swing: float, warmest: float) -> float:
    return mean + swing * numpy.cos((month - warmest) * math.tau / 12)


@app.function()
def versions() -> str:
    return f"numpy {numpy.__version__}, scipy {scipy.__version__}"


@app.function()
def fit(description: str) -> tuple[list[float], list[float]]:
    """What `ncgen` makes of a description, read back, and the yearly cycle in it."""
    subprocess.run(["ncgen", "-o", "lake.nc"], input=description, text=True, check=True)
    with scipy.io.netcdf_file("lake.nc", mmap=False) as file:
        surface = file.variables["surface"][:].tolist()
    cycle, _ = scipy.optimize.curve_fit(yearly, numpy.arange(1, 13), surface, p0=(10, 10, 7))
    return surface, cycle.tolist()


@app.local_entrypoint()
def main() -> None:
    print(versions.remote())
    surface, (mean, swing, warmest) = fit.remote(LAKE)
    print(f"lake.nc holds {len(surface)} months, from {min(surface)} to {max(surface)} °C")
    print(
        f"a fit says: {mean:.1f} °C ± {swing:.1f} °C, warmest in the middle of month {warmest:.0f}"
    )
