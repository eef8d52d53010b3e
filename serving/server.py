"""The HTTP side: TensorFlow Serving's REST routes, health, metrics and the OpenAPI page."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import prometheus_client
from fastapi import FastAPI, Request
from fastapi import Path as PathPart
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import describing, metrics, wire
from serving import limits as limits_
from serving.errors import RequestError
from serving.guard import FAILED, Guard, answer
from serving.models import Model, Version
from serving.options import Limits, Settings

logger = logging.getLogger(__name__)
SMALL_BODY = 2**16  # bytes that are read without a thread: in less time than the thread would take


class Serving:
    """The models of a server, and what looks after them while it runs.

    Attributes:
        failure: says which model could not be loaded at the start; then `on_failure` is called.
    """

    def __init__(self, folders: dict[str, Path], limits: Limits, settings: Settings):
        self.models = {name: Model(name, path) for name, path in folders.items()}
        self.limits, self.settings = limits, settings
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.executor = ThreadPoolExecutor(settings.threads * len(folders), "model")
        self.queue = {
            "max_batch": settings.max_batch,
            "max_queue": settings.max_queue,
            "workers": settings.threads,
        }

    @property
    def ready(self) -> bool:
        return all(model.version for model in self.models.values())

    async def watch(self) -> None:
        """Loads what is new, for ever."""
        while True:
            for model in self.models.values():
                try:
                    candidate = await asyncio.to_thread(model.next)
                    if candidate is not None:
                        problem = await model.load(candidate, self.executor, **self.queue)
                        if problem and not model.version:
                            self.failure = f"--model {model.name}: {problem}"
                            self.on_failure()
                except Exception:
                    logger.exception("%s: looking for versions failed", model.name)
            await asyncio.sleep(self.settings.poll_s if self.ready else 0.2)

    def model(self, name: str) -> Model:
        """A model by name.

        Raises:
            RequestError: 404.
        """
        if name not in self.models:
            raise RequestError(f"Could not find any versions of model {name[:100]}", 404)
        return self.models[name]

    def version(self, name: str, version: str | None) -> Version:
        """The version that answers.

        Raises:
            RequestError: 404 for another, 503 as long as none is loaded.
        """
        model, number = self.model(name), version_number(version)
        current = model.version
        if current is None:
            raise RequestError(model.problem, 503, retry_after_s=1)
        if number not in (None, current.number):
            raise RequestError(f"Servable not found for request: Specific({name}, {number})", 404)
        return current

    async def predict(self, name: str, version: str | None, body: bytes) -> bytes:
        """Body of a request to body of the answer."""
        with self.version(name, version).used() as model:
            if len(body) > SMALL_BODY:
                parsed = await asyncio.to_thread(wire.parse, body, model.signatures)
            else:
                parsed = wire.parse(body, model.signatures)
            rows, part = limits_.check(
                model.signatures[parsed.signature], parsed.inputs, self.limits
            )
            outputs = await model.batchers[parsed.signature].submit(
                parsed.inputs, rows, part, self.limits.timeout_s
            )
            return wire.encode(outputs, parsed.rows)

    @asynccontextmanager
    async def running(self, app: FastAPI):
        """Watches the folders as long as the server runs."""
        watching = asyncio.create_task(self.watch())
        yield
        watching.cancel()
        self.executor.shutdown(wait=False, cancel_futures=True)


def version_number(version: str | None) -> int | None:
    """A number from a path.

    Raises:
        RequestError: 400, it is none.
    """
    if version is None:
        return None
    if not (version.isascii() and version.isdigit() and int(version[:20]) < 2**63):
        raise RequestError(f"Failed to convert version: {version[:20]} to numeric.")
    return int(version)


def create_app(serving: Serving, token: str | None = None, origins: Sequence[str] = ()):
    """The ASGI application; with a token, for clients that send it.

    `origins` are those of pages that browsers let ask, beside its own; "*" is any.
    """
    app = FastAPIOffline(
        title="Models by TensorFlow Serving's REST interface",
        lifespan=serving.running,
        redoc_url=None,
        static_url="/docs/static",
    )
    _add_models(app, serving)
    _add_health(app, serving)
    app.openapi()  # keeps the description as it is, without HEAD
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    # Starlette's types want handlers of any exception.
    app.add_exception_handler(HTTPException, _not_found)  # pyright: ignore[reportArgumentType]
    app.add_exception_handler(
        RequestError,
        lambda _, error: JSONResponse(*answer(error)),  # pyright: ignore[reportArgumentType]
    )
    app.add_exception_handler(Exception, lambda *_: JSONResponse(*answer(FAILED)))
    guard = Guard(app, serving.limits, token, frozenset(serving.models))
    headers = ("Authorization", "Content-Encoding", "Content-Type")
    return CORSMiddleware(guard, origins, ("GET", "HEAD", "POST"), headers) if origins else guard


def _add_models(app: FastAPI, serving: Serving) -> None:
    name = PathPart(description="Name of a model.", examples=list(serving.models))
    errors = describing.ERRORS
    base = "/v1/models/{name:part}"
    numbered = base + "/versions/{version:part}"

    @app.post(base + ":predict", responses=errors, openapi_extra=describing.PREDICT)
    async def predict(request: Request, name: str = name) -> Response:
        """Answers by the newest version."""
        body = await serving.predict(name, None, await request.body())
        return Response(body, media_type="application/json")

    @app.post(numbered + ":predict", responses=errors, openapi_extra=describing.PREDICT)
    async def predict_version(request: Request, version: str, name: str = name) -> Response:
        """Answers by one version."""
        body = await serving.predict(name, version, await request.body())
        return Response(body, media_type="application/json")

    @app.get(base, responses=errors)
    @app.get(numbered, responses=errors)
    async def status(name: str = name, version: str | None = None) -> dict:
        """Versions of a model and their states."""
        return describing.status(serving.model(name), version_number(version))

    @app.get(base + "/metadata", responses=errors)
    @app.get(numbered + "/metadata", responses=errors)
    async def metadata(name: str = name, version: str | None = None) -> dict:
        """Signatures of a model: names, dtypes and shapes of inputs and outputs."""
        return describing.metadata(name, serving.version(name, version))


def _add_health(app: FastAPI, serving: Serving) -> None:
    @app.get("/healthz")
    async def healthz() -> dict:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses=describing.ERRORS)
    async def readyz() -> dict:
        """Whether every model answers."""
        if not serving.ready:
            waiting = [model.problem for model in serving.models.values() if not model.version]
            raise RequestError("; ".join(waiting), 503, retry_after_s=1)
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Figures for Prometheus."""
        for name, model in serving.models.items():
            queues = model.version.batchers.values() if model.version else ()
            metrics.WAITING.labels(name).set(sum(queue.waiting for queue in queues))
        return Response(
            prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST
        )


class Part(StringConvertor):
    """A part of a path, which may end in a colon and a verb."""

    regex = "[^/:]+"


register_url_convertor("part", Part())


class Protocol(HttpToolsProtocol):
    """Keeps the body of whoever offers HTTP/2 beside, as Java's client does; else it is lost."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data.replace(b"\r\nUpgrade: h2c", b"\r\nOffered: h2c"))


async def _not_found(request: Request, error: HTTPException) -> Response:
    """OPTIONS, other methods and unknown paths; under /v1/ in the words of TensorFlow Serving."""
    path, method, status = request.url.path, request.method, error.status_code
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = f"{headers.get('Allow', 'GET, HEAD')}, OPTIONS"
        if method == "OPTIONS":
            return Response(headers=headers)
    if path.startswith("/v1/") and (status, method) != (405, "HEAD"):
        return JSONResponse({"error": f"Malformed request: {method} {path[:200]}"}, 400, headers)
    return JSONResponse({"error": str(error.detail)}, status, headers)
