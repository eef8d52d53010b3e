"""Stands before the routes: token, size and time of bodies, errors as JSON, counts."""

import asyncio
import hmac
import logging
import time
import zlib

from starlette.responses import JSONResponse

from serving import metrics
from serving.errors import RequestError
from serving.options import Limits

logger = logging.getLogger(__name__)
OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")  # asked for without a token
FAILED = RequestError("Internal error; the server's log says what happened", 500)
GZIP_MEMBERS = 64  # each of which costs a copy of the rest
PENDING_REQUESTS = 16  # of the largest size, whose bodies may be in memory at a time


class Guard:
    """An ASGI application around another.

    Args:
        token: what requests must bear; None asks for none.
        names: of models; only for these are there counts.
    """

    def __init__(self, app, limits: Limits, token: str | None, names: frozenset[str]):
        self.app, self.limits, self.names = app, limits, names
        self.expected = None if token is None else f"Bearer {token}".encode()
        self.pending = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status, size = time.perf_counter(), 0, 0

        async def watched_send(message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._check(scope["path"], headers)
            packed = is_gzip(scope["headers"])
            body = await self._read(receive)
            size = len(body)
            if body and packed:
                body = await asyncio.to_thread(inflated, body, self.limits)
                size, packed_size = len(body), size
                self._count(size - packed_size)
            await self.app(scope, _replay(body, receive), watched_send)
        except RequestError as error:
            await JSONResponse(*answer(error))(scope, receive, watched_send)
        except Exception:
            logger.exception("a request failed")  # the application has answered
        finally:
            self.pending -= size
            metrics.PENDING.set(self.pending)
            name = scope["path"].removeprefix("/v1/models/").partition(":")[0].partition("/")[0]
            if name in self.names and scope["path"].startswith("/v1/models/"):
                metrics.REQUESTS.labels(name, str(status)).inc()
                metrics.SECONDS.labels(name).observe(time.perf_counter() - begun)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self.expected is not None and not path.startswith(OPEN):
            if not hmac.compare_digest(headers.get(b"authorization", b""), self.expected):
                raise RequestError("expected the header 'Authorization: Bearer TOKEN'", 401)
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:19]) > self.limits.max_bytes:
            raise too_large(self.limits)

    def _count(self, size: int) -> None:
        """Counts bytes that wait."""
        self.pending += size
        if self.pending > PENDING_REQUESTS * self.limits.max_bytes:
            raise RequestError("Too many bytes wait", 503, retry_after_s=1)

    async def _read(self, receive) -> bytes:
        """The whole body, counted in `pending` from then on."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError("the client went away")
                    part = message.get("body", b"")
                    size += len(part)
                    self._count(len(part))
                    parts.append(part)
                    if size > self.limits.max_bytes:
                        raise too_large(self.limits)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            self.pending -= size
            raise RequestError("The request did not arrive in time", 408) from None
        except RequestError:
            self.pending -= size
            raise


def too_large(limits: Limits) -> RequestError:
    return RequestError(f"expected at most {limits.max_request_mib:g} MiB", 413)


def is_gzip(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the body is compressed; raises RequestError, 415, for other codings."""
    lines = b",".join(value for name, value in headers if name == b"content-encoding")
    codings = {coding.strip().lower() for coding in lines.split(b",")} - {b"", b"identity"}
    if not codings <= {b"gzip", b"x-gzip"} or lines.lower().count(b"gzip") > 1:
        got = lines.decode("latin-1")[:100]
        raise RequestError(f"expected Content-Encoding gzip or identity, got {got}", 415)
    return bool(codings)


def inflated(body: bytes, limits: Limits) -> bytes:
    """What a body of gzip holds.

    Raises:
        RequestError: 400 for a damaged one or one that is cut short, 413 above the limit.
    """
    parts, room = [], limits.max_bytes
    try:
        for _ in range(GZIP_MEMBERS):
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(body, room + 1))
            room, body = room - len(parts[-1]), member.unused_data
            if room < 0:
                raise too_large(limits)
            if not member.eof:
                raise zlib.error("it is cut short")
            if not body:
                return b"".join(parts)
        raise zlib.error(f"it has more than {GZIP_MEMBERS} members")
    except zlib.error as error:
        raise RequestError(f"expected a body of gzip: {error}") from None


def _replay(body: bytes, receive):
    """`receive` for a body that was read before."""
    sent = False

    async def again():
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def answer(error: RequestError) -> tuple[dict, int, dict]:
    """Content, status and headers of the answer for an error."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 415:
        headers["Accept-Encoding"] = "gzip"
    if error.status in (408, 413):  # what is left of the body is not read
        headers["Connection"] = "close"
    return {"error": str(error)}, error.status, headers
