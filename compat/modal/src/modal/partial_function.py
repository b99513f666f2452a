"""What marks methods and web functions."""

from __future__ import annotations

from modal._standins import standins
from volant import (
    asgi_app as asgi_app,
    batched as batched,
    clustered as clustered,
    concurrent as concurrent,
    enter as enter,
    exit as exit,
    fastapi_endpoint as fastapi_endpoint,
    method as method,
    sessioned as sessioned,
    web_endpoint as web_endpoint,
    web_server as web_server,
    wsgi_app as wsgi_app,
)

__getattr__ = standins(__name__, "PartialFunction")
