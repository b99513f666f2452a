"""A page of Streamlit in an image of its own, used by a browser: it speaks over a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.behaviours.browser import chromium
from tests.behaviours.programs import WITHIN_S
from tests.behaviours.test_web_examples import running
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

#: Half a gigabyte of packages is installed first.
BUILD_WITHIN_S = 300.0


def test_a_page_of_streamlit_answers_to_its_user(tmp_path: Path) -> None:
    """Behaviour 113."""
    with chromium(tmp_path) as page, running("streamlit_app") as module:
        url = str(module.Page.get_url())
        eventually(lambda: httpx.get(url).status_code == 200, within_s=BUILD_WITHIN_S, every_s=0.1)
        parts = httpx.URL(url)
        label = parts.path.strip("/") or parts.host.partition(".")[0]
        page.open(f"http://{label}.localhost:{parts.port}/")

        def shows(text: str) -> bool:
            return text in page.value("document.body.innerText")

        eventually(lambda: shows("7 squared is 49"), within_s=WITHIN_S)
        slider = "document.querySelector('[data-testid=stSlider] input')"
        eventually(lambda: page.value(f"{slider} !== null"), within_s=WITHIN_S)
        page.value(f"{slider}.focus()")
        page.press("ArrowRight", 39)
        eventually(lambda: shows("8 squared is 64"), within_s=WITHIN_S)
