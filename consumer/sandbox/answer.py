"""Answers of the sandbox, as they should be and as a fault wants them."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

from aiohttp import web

from consumer.sandbox.fault import Body, Cut, Fault
from consumer.sandbox.shops import Refusal

RECORDED = b'{"status":"recorded"}'

_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"

_ENDLESS_CHUNK = b"x" * 16_384
_SLOW_SECONDS = 0.2


def refuse(request: web.Request, refusal: Refusal) -> web.Response:
    """An error in the shape that Neuroon documents: {timestamp, status, error, message, path}."""
    body = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": refusal.status,
        "error": phrase(refusal.status),
        "message": refusal.message,
        "path": request.path,
    }
    return web.json_response(body, status=refusal.status)


def challenge(status: int) -> web.Response:
    """The page of a firewall that wants to see a browser."""
    return web.Response(body=_PAGE, status=status, content_type="text/html", charset="utf-8")


def phrase(status: int) -> str:
    """The usual words for a status, "Unknown" for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


async def spoil(request: web.Request, answer: web.Response, fault: Fault) -> web.StreamResponse:
    """Do to an answer what a fault says, except for its status and its delay."""
    if fault.cut is not None and fault.cut is not Cut.HANG_UP:
        return _cut(request, fault.cut)
    if fault.retry_after is not None:
        for value in fault.retry_after.split("|"):
            answer.headers.add("Retry-After", value)
    if fault.retry_after_date is not None:
        due = datetime.now(UTC) + timedelta(seconds=fault.retry_after_date)
        answer.headers["Retry-After"] = format_datetime(due, usegmt=True)
    if fault.location is not None:
        answer.headers["Location"] = fault.location
    match fault.body:
        case Body.GARBAGE:
            answer.body = os.urandom(200)
        case Body.EMPTY:
            answer.body = b""
        case Body.ENDLESS:
            return await _pour(request, answer, _ENDLESS_CHUNK, 0.0)
        case Body.SLOW:
            return await _pour(request, answer, b"x", _SLOW_SECONDS)
    return answer


def _cut(request: web.Request, cut: Cut) -> web.Response:
    """Leave the client without an answer; what is returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        if cut is Cut.NOT_HTTP:
            transport.write(b"220 this is another service\r\n\r\n")
            transport.close()
        else:
            transport.abort()
    return web.Response()


async def _pour(request: web.Request, answer: web.Response, chunk: bytes, pause: float) -> web.StreamResponse:
    """A body without an end, until the client has had enough of it."""
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    stream.headers.popall("Content-Length", None)
    try:
        await stream.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await stream.write(chunk)
            await asyncio.sleep(pause)
    except ConnectionError:
        pass
    return stream
