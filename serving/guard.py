"""Stands before the routes: token, size and time of bodies, errors as JSON, counts."""

import asyncio
import hmac
import logging
import time

from starlette.responses import JSONResponse

from serving import metrics
from serving.errors import RequestError
from serving.options import Limits

logger = logging.getLogger(__name__)
OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")  # asked for without a token
FAILED = RequestError("Internal error; the server's log says what happened", 500)
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
            body = await self._read(receive, headers)
            size = len(body)
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
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestError("expected a body that is not compressed", 415)
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:19]) > self.limits.max_bytes:
            raise self._too_large()

    async def _read(self, receive, headers: dict[bytes, bytes]) -> bytes:
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
                    self.pending += len(part)
                    parts.append(part)
                    if size > self.limits.max_bytes:
                        raise self._too_large()
                    if self.pending > PENDING_REQUESTS * self.limits.max_bytes:
                        raise RequestError("Too many bytes wait", 503, retry_after_s=1)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            self.pending -= size
            raise RequestError("The request did not arrive in time", 408) from None
        except RequestError:
            self.pending -= size
            raise

    def _too_large(self) -> RequestError:
        return RequestError(f"expected at most {self.limits.max_request_mib:g} MiB", 413)


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
    if error.status in (408, 413):  # what is left of the body is not read
        headers["Connection"] = "close"
    return {"error": str(error)}, error.status, headers
