"""A Flask site whose visitors share a model that each container loads once.

$ volant run examples/web/flask_site.py
<p>3 letters in all: a 2, b 1</p>
"""

import collections
import urllib.request

from flask import Flask, request

import volant

app = volant.App("flask-site")


@app.cls()
@volant.concurrent(max_inputs=8)
class Site:
    """Counts letters."""

    @volant.enter()
    def load(self) -> None:
        self.letters = frozenset("abcdefghijklmnopqrstuvwxyz")

    def count(self, text: str) -> dict[str, int]:
        return collections.Counter(letter for letter in text if letter in self.letters)

    @volant.wsgi_app()
    def web(self) -> Flask:
        site = Flask("letters")

        @site.route("/")
        def index() -> str:
            found = self.count(request.args.get("text", ""))
            shown = ", ".join(f"{letter} {count}" for letter, count in sorted(found.items()))
            return f"<p>{sum(found.values())} letters in all: {shown}</p>"

        return site


@app.local_entrypoint()
def main() -> None:
    with urllib.request.urlopen(f"{Site().web.get_web_url()}?text=a+b+a") as answer:
        print(answer.read().decode())
