"""An app in an image with large packages, which its template has imported."""

from __future__ import annotations

import volant

image = volant.Image.debian_slim().uv_pip_install("numpy", "pandas", "fastapi")
app = volant.App("imported", image=image)

with image.imports():
    import fastapi
    import numpy as np
    import pandas as pd


@app.function(scaledown_window=0.05)
def use() -> str:
    """Something of each package."""
    return f"{np.arange(3).sum()} {pd.Series([1]).sum()} {fastapi.FastAPI().title}"
