"""A page of Streamlit, which speaks with its server over a WebSocket.

Open the address that is printed in a browser, and move the slider:

    volant serve examples/web/streamlit_app.py
"""

import subprocess
import sys
from pathlib import Path

import volant

PORT = 8501
image = volant.Image.debian_slim().uv_pip_install("streamlit==1.67.0")
app = volant.App("streamlit-page", image=image)

PAGE = """
import streamlit

streamlit.title("squares")
number = streamlit.slider("number", 0, 100, 7)
streamlit.write(f"{number} squared is **{number * number}**")
"""


@app.server(port=PORT, unauthenticated=True, startup_timeout=60)
class Page:
    """A slider, and what its number is squared."""

    @volant.enter()
    def start(self) -> None:
        page = Path("page.py")
        page.write_text(PAGE)
        options = ["--server.headless=true", f"--server.port={PORT}"]
        command = [sys.executable, "-m", "streamlit", "run", str(page), *options]
        self.process = subprocess.Popen(command)
