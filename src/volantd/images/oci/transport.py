"""HTTP for registries: one GET at a time, its redirects, and patience with what breaks.

Owns which addresses may be asked, who sees the Authorization header, and what is worth another try.
Proxies are those of the environment, as for every program, but never for this very machine.
It knows nothing of images.
"""

from __future__ import annotations

import contextlib
import ssl
import string
import time
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from volant.version import VERSION
from volantd.images.oci.errors import OciError, TransferError, shown
from volantd.images.oci.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds without a byte after which a connection counts as broken.
SILENCE_S_MAX = 60.0
#: Attempts in a row that brought next to nothing.
ATTEMPTS_MAX = 6
#: Bytes from which on an attempt that broke was not in vain.
ADVANCE_BYTES_MIN = 4 << 20
#: Pause before the second attempt; each further one is twice as long, up to the most.
PAUSE_S, PAUSE_S_MAX = 0.5, 15.0
REDIRECTS_MAX = 8
_CHUNK_BYTES = 256 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_PORTS = {"http": 80, "https": 443}


class InterruptedTransferError(Exception):
    """One attempt failed in a way that another need not. Never leaves this package."""

    def __init__(self, problem: str, *, pause_s: float = 0.0) -> None:
        """`pause_s` is how long the server asks to be left alone."""
        super().__init__(problem)
        self.pause_s = pause_s


class Patience:
    """How often and how long one document or blob is tried for."""

    def __init__(self, what: str, limit_s: float, sleep: Callable[[float], None]) -> None:
        """`what` is tried for `limit_s` seconds at most, from now on."""
        self._what = what
        self._limit_s = limit_s
        self._sleep = sleep
        self._end = time.monotonic() + limit_s
        self._failures = 0

    def check(self) -> None:
        """Raise when the time is up: a server that drips is as bad as one that is silent."""
        if time.monotonic() > self._end:
            raise TransferError(f"{self._what} did not arrive within {self._limit_s:.0f} s")

    def pause(self, failure: InterruptedTransferError, *, advance: int = 0) -> None:
        """Wait before the next attempt.

        Args:
            failure: why the last one failed.
            advance: bytes that it brought all the same.

        Raises:
            TransferError: when there is no next one.
        """
        self._failures = 1 if advance >= ADVANCE_BYTES_MIN else self._failures + 1
        pause_s = min(max(PAUSE_S * 2 ** (self._failures - 1), failure.pause_s), PAUSE_S_MAX)
        if self._failures >= ATTEMPTS_MAX or time.monotonic() + pause_s > self._end:
            raise TransferError(
                f"{self._what} could not be fetched: {failure}",
                hint="look whether the registry can be reached from this machine, and try again",
            ) from failure
        self._sleep(pause_s)


class Answer:
    """What a server answers: a status, headers, and a body that is read once."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            InterruptedTransferError: when it breaks off.
        """
        expected = self._response.length  # None when the server does not say
        count = 0
        while expected is None or count < expected:
            try:
                data = self._response.read1(_CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                raise _interruption(error) from error
            if not data:
                break
            count += len(data)
            yield data
        if expected is not None and count < expected:
            raise InterruptedTransferError(f"the connection broke after {count} bytes")

    def body(self, bytes_max: int, patience: Patience) -> bytes:
        """The whole body; more than `bytes_max` bytes are an error."""
        body = bytearray()
        for data in self.chunks():
            patience.check()
            body += data
            if len(body) > bytes_max:
                raise OciError(f"a registry sent a document of more than {bytes_max} bytes")
        return bytes(body)


def _opener(*handlers: HTTPHandler | HTTPSHandler | ProxyHandler) -> OpenerDirector:
    """One that neither raises for a status nor follows a redirect."""
    opener = OpenerDirector()
    opener.addheaders = [("User-Agent", f"volant/{VERSION}")]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


class Transport:
    """Asks servers, with what the environment says about proxies and certificates."""

    def __init__(
        self, *, silence_s_max: float = SILENCE_S_MAX, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Likely to be given only by tests.

        Args:
            silence_s_max: seconds without a byte after which a connection counts as broken.
            sleep: waits so many seconds.
        """
        self._silence_s_max = silence_s_max
        self._sleep = sleep
        tls = ssl.create_default_context()
        self._direct = _opener(HTTPHandler(), HTTPSHandler(context=tls))
        self._proxied = _opener(ProxyHandler(), HTTPHandler(), HTTPSHandler(context=tls))

    def patience(self, what: str, limit_s: float) -> Patience:
        """For one document or blob."""
        return Patience(what, limit_s, self._sleep)

    @contextlib.contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[Answer]:
        """Ask for an address, and whomever it redirects to.

        Raises:
            InterruptedTransferError: when another attempt may succeed.
            OciError: when none will; any other status is the caller's to judge.
        """
        response = self._follow(url, headers)
        try:
            if response.status in _PASSING:
                problem = f"{urlsplit(url).netloc} answered {response.status} {response.reason}"
                raise InterruptedTransferError(problem, pause_s=_pause_s(response))
            yield Answer(response)
        finally:
            response.close()

    def _follow(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        start = url
        for _ in range(REDIRECTS_MAX):
            response = self._open(url, headers)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            previous, url = url, _absolute(url, location)
            if _origin(url) != _origin(previous):
                # Whoever stores the blobs is nobody to show the registry's token to.
                headers = {k: v for k, v in headers.items() if k != "Authorization"}
        raise OciError(f"{shown(start)} redirects more than {REDIRECTS_MAX} times")

    def _open(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        host = check_address(url)
        opener = self._direct if is_loopback(host) else self._proxied
        try:
            request = Request(url, headers=headers)  # noqa: S310  # the scheme was checked
            response = opener.open(request, timeout=self._silence_s_max)
        except (OSError, HTTPException) as error:
            raise _interruption(error) from error
        except ValueError as error:
            raise OciError(f"{shown(url)} cannot be asked") from error
        assert isinstance(response, HTTPResponse), "these openers have only handlers of HTTP"
        return response


def check_address(url: str) -> str:
    """The host of a URL that may be asked.

    Raises:
        OciError: when it is not encrypted, unless it is on this very machine.
    """
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        is_sane = host and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        host, is_sane = None, False
    if not is_sane or host is None or parts.scheme not in _PORTS:
        raise OciError(f"a registry refers to {shown(url)}, which is no address of the web")
    if parts.scheme == "http" and not is_loopback(host):
        raise OciError(
            f"a registry refers to {shown(url)}, which is not encrypted",
            hint="only registries on `localhost` and `127.0.0.1` are spoken to without TLS",
        )
    return host


def _absolute(url: str, location: str) -> str:
    try:
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="iso-8859-1"))
    except ValueError as error:
        raise OciError(f"{shown(url)} redirects to {shown(location)}") from error
    if urlsplit(url).scheme == "https" and not target.startswith("https://"):
        raise OciError(f"{shown(url)} redirects to {shown(target)}, which is not encrypted")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    with contextlib.suppress(ValueError):  # a port that is none, which `check_address` refuses
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, None


def _pause_s(response: HTTPResponse) -> float:
    """What `Retry-After` says in seconds; 0 when it says nothing, or a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _interruption(error: Exception) -> InterruptedTransferError:
    """A failure of the network as one that another attempt may mend.

    Raises:
        OciError: when it will not.
    """
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise OciError(
            f"the registry's certificate is not to be trusted: {reason.verify_message}",
            hint="`SSL_CERT_FILE` may name a file with the certificate of your own authority",
        ) from error
    return InterruptedTransferError(str(reason) or type(reason).__name__)
