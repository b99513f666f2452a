"""A JSON API: one function is one route, with typed parameters, beside an app with many routes.

Both answer while this runs; `volant run` prints what a client gets.

$ volant run examples/web/json_api.py
{"celsius":37.0}
[{"name":"tea","price":3.5}]
"""

import urllib.request

from fastapi import FastAPI
from pydantic import BaseModel

import volant

app = volant.App("json-api")


@app.function()
@volant.fastapi_endpoint(docs=True)
def celsius(fahrenheit: float) -> dict[str, float]:
    return {"celsius": round((fahrenheit - 32) / 1.8, 1)}


class Drink(BaseModel):
    """What is on the menu."""

    name: str
    price: float


api = FastAPI(title="drinks")
drinks = [Drink(name="tea", price=3.5), Drink(name="coffee", price=4.2)]


@api.get("/drinks")
def cheaper_than(price: float = 100) -> list[Drink]:
    return [drink for drink in drinks if drink.price < price]


@app.function()
@volant.concurrent(max_inputs=50)
@volant.asgi_app()
def menu() -> FastAPI:
    return api


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


@app.local_entrypoint()
def main() -> None:
    print(get(f"{celsius.get_web_url()}?fahrenheit=98.6"))
    print(get(f"{menu.get_web_url()}/drinks?price=4"))
