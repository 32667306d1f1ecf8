"""The requests that a browser makes, and who may make them."""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnet_kmeans.exceptions import DecodeError, ResNetKMeansError
from resnet_kmeans.server.album import OpenAlbum
from resnet_kmeans.server.pictures import Pictures

logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{0}'; "
    "script-src 'nonce-{0}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NOTHING_ALLOWED = "default-src 'none'; sandbox"  # of everything that is not the page
HOSTS = ["127.0.0.1", "localhost"]  # others may be names that somebody made lead here
KEPT = {"Cache-Control": "private, max-age=600"}  # pictures; seconds until an edit is seen
MAX_BODY = 2**24  # bytes; moves of 400,000 images


class Guard:
    """Lets in only who has the token, and only requests of the page itself.

    The token is in the address that is printed, and becomes a cookie. Two are accepted in the
    address: that one, and another that serves once, since the address with which a browser is
    started can be seen by other users of the machine.

    Parameters
    ----------
    app : ASGI application
    token, once : str
        The two tokens.
    """

    def __init__(self, app: ASGIApp, token: str, once: str):
        self.app, self.tokens, self.secret = app, {token, once}, secrets.token_urlsafe(32)
        self.once = once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        # Browsers keep cookies for a host, whatever the port.
        name = f"resnet-kmeans-{scope['server'][1]}"
        given = request.query_params.get("token", "")
        has_token = any(secrets.compare_digest(given.encode(), t.encode()) for t in self.tokens)
        has_cookie = secrets.compare_digest(
            request.cookies.get(name, "").encode(), self.secret.encode()
        )
        is_allowed = (has_cookie or has_token) and _is_own(request, has_token)
        cookie = f"{name}={self.secret}; HttpOnly; SameSite=Strict; Path=/"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", NOTHING_ALLOWED)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Referrer-Policy"] = "no-referrer"
                if has_token and is_allowed:
                    headers["Set-Cookie"] = cookie
            await send(message)

        if not is_allowed:
            refused = PlainTextResponse(
                "Open the address that resnet-kmeans printed, with its token.", 403
            )
            return await refused(scope, receive, answer)
        if given == self.once:
            self.tokens.discard(given)
        return await self.app(scope, receive, answer)


def _is_own(request: Request, has_token: bool) -> bool:
    """Return whether a request comes from the page, or from the address bar."""
    own = f"http://{request.headers.get('host')}"
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if request.method == "POST":
        is_json = request.headers.get("content-type") == "application/json"
        return origin == own and is_json and site in (None, "same-origin")
    return origin in (None, own) and (has_token or site in (None, "none", "same-origin"))


class _Answers:
    """Answers requests; all work on the export is done by one thread, step after step."""

    def __init__(self, album: OpenAlbum, pictures: Pictures, close: Callable[[], None]):
        self.album, self.pictures, self.close = album, pictures, close
        self._worker, self._n_waiting = ThreadPoolExecutor(1, "album"), 0

    async def work(self, function: Callable[..., Any], *args: Any) -> Any:
        self._n_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, function, *args)
        finally:
            self._n_waiting -= 1

    async def page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        html = (await self.work(self.album.page, nonce)).encode("utf-8", "backslashreplace")
        return HTMLResponse(html, headers={"Content-Security-Policy": POLICY.format(nonce)})

    async def show(self, request: Request) -> Response:
        if not self._n_waiting:  # a step is answered with the album anyway
            await self.work(self.album.look)
        content = self.album.content
        is_known = request.query_params.get("known") == content["export"]["state"]
        is_old = is_known or self._n_waiting
        return Response(status_code=204) if is_old else _json({"album": content})

    async def steps(self, request: Request) -> Response:
        content, said = await self.work(self.album.take, await _body(request))
        return _json({"album": content, "said": said})

    async def points(self, request: Request) -> Response:
        return _json(await run_in_threadpool(self.album.points))  # takes seconds; steps go on

    async def progress(self, request: Request) -> Response:
        return _json(self.album.progress)

    async def stop(self, request: Request) -> Response:
        self.album.stop()
        return _json({})

    async def quit(self, request: Request) -> Response:
        self.close()
        return _json({})

    async def thumbnail(self, request: Request) -> Response:
        return await self._picture(request, self.pictures.thumbnail)

    async def image(self, request: Request) -> Response:
        return await self._picture(request, self.pictures.original)

    async def _picture(
        self, request: Request, read: Callable[[Path], tuple[bytes, str]]
    ) -> Response:
        while True:
            path = self.album.paths.get(request.path_params["number"])
            if path is None:
                raise DecodeError("There is no such image.")
            try:
                content, kind = await run_in_threadpool(read, self.album.folder / path)
                return Response(content, media_type=kind, headers=KEPT)
            except DecodeError:
                if not self._n_waiting:
                    raise
                await self.work(self.album.look)  # a step is moving it


def new_app(
    album: OpenAlbum, pictures: Pictures, tokens: Sequence[str], close: Callable[[], None]
) -> Starlette:
    """Return the application that serves an album.

    Parameters
    ----------
    album : OpenAlbum
    pictures : Pictures
    tokens : (str, str)
        The token of the printed address, and one that serves once.
    close : callable
        Called when a person closes the album on the page.
    """
    answers = _Answers(album, pictures, close)
    malformed = (ValueError, LookupError, TypeError, ArithmeticError)
    return Starlette(
        routes=[
            Route("/", answers.page),
            Route("/album", answers.show),
            Route("/map", answers.points),
            Route("/progress", answers.progress),
            Route("/thumbnails/{number:int}", answers.thumbnail),
            Route("/images/{number:int}", answers.image),
            Route("/steps", answers.steps, methods=["POST"]),
            Route("/stop", answers.stop, methods=["POST"]),
            Route("/quit", answers.quit, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            Middleware(Guard, token=tokens[0], once=tokens[1]),
        ],
        exception_handlers={
            DecodeError: _answer(404),
            ResNetKMeansError: _answer(409),
            OSError: _answer(409),
            HTTPException: _answer(0),
            **{error: _answer(400) for error in malformed},
            Exception: _answer(500),
        },
    )


def _json(content: Any) -> Response:
    # Names of folders may not be valid Unicode, so the answer is ASCII.
    return Response(json.dumps(content), media_type="application/json")


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    try:
        async for part in request.stream():
            data += part
            if len(data) > MAX_BODY:
                raise HTTPException(413, "The request is too large.")
        asked = json.loads(data)
    except (ValueError, RecursionError, ClientDisconnect):
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(400, "Expected a step as JSON.")
    return asked


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return a handler that answers an error as JSON."""

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return JSONResponse({"error": error.detail}, error.status_code)
        if status == 500:
            logger.error("A request failed", exc_info=error)
        return JSONResponse({"error": str(error)}, status)

    return handle
