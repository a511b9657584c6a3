"""A real S3 server on loopback (moto) and a proxy before it that delays, refuses and cuts connections.

`ObjectStore` runs both in threads: `.uri(key)` is what Gristmill is given, `.http(key)` the same object over http.
Every request passes the proxy and is counted. What goes wrong is told by `rules` (this operation, this path, so many
times) and by a `Schedule`: the n-th request's fault is a function of a seed and n. Faults, in the order of a request:

    delay         answers, but late
    error         a status and an S3 error document; the request is not handled
    reset_before  the connection is reset; the request is not handled
    reset_after   handled, then the connection is reset instead of an answer
    reset_body    handled; the connection is reset in the middle of the body
    short_body    handled; the connection is closed in the middle of the body
    redirect      not handled; the client is sent to the same place again
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "grist"
ACCESS_KEY, SECRET_KEY = "AKIAGRISTMILLTEST", "wJalr/XUtnFEMI+K7MDENG"  # a '/' and a '+', as real ones have
ERRORS = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied"}
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server", "expect"}


@dataclass(frozen=True)
class Fault:
    kind: str
    status: int = 503
    code: str | None = None
    """Of the S3 error document; by default the one that belongs to the status."""
    seconds: float = 0.3


@dataclass(frozen=True)
class Request:
    operation: str
    """GET, HEAD, PUT, DELETE, LIST, COPY, DELETE_MANY; CREATE_UPLOAD, UPLOAD_PART, COMPLETE_UPLOAD, ABORT_UPLOAD."""
    path: str
    """/bucket/key"""
    range: str | None
    length: int
    """Bytes of the request's body."""


@dataclass
class Rule:
    """The first rule that matches a request decides; `times` None: always."""

    fault: Fault
    operations: tuple[str, ...] = ()
    """Empty: all."""
    path: str = ""
    """A part of the path."""
    times: int | None = None
    skip: int = 0
    """How many matching requests pass first."""

    def claims(self, request: Request) -> bool:
        if self.times == 0 or (self.operations and request.operation not in self.operations):
            return False
        if self.path not in request.path:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


MIXED = (
    Fault("delay", seconds=0.05),
    Fault("error", 500),
    Fault("error", 503),
    Fault("reset_before"),
    Fault("reset_after"),
    Fault("reset_body"),
    Fault("short_body"),
)


FAILING = [fault for fault in MIXED if fault.kind != "delay"]


@dataclass(frozen=True)
class Schedule:
    """A share `rate` of all requests meets one of `faults`; which ones depends on `seed` and their number alone."""

    seed: int
    rate: float
    faults: Sequence[Fault] = MIXED

    def fault(self, number: int) -> Fault | None:
        draw = random.Random(f"{self.seed}/{number}")
        return draw.choice(self.faults) if draw.random() < self.rate else None


@dataclass
class Proxy:
    """Passes requests to `upstream` (host, port), counts them and spoils some."""

    upstream: tuple[str, int]
    schedule: Schedule | None = None
    rules: list[Rule] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    without_ranges: bool = False
    """Every GET is answered with the whole file."""
    without_length: bool = False
    """So too, without a Content-Length: the answer ends with the connection."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening and cuts what is open: to its clients the endpoint is down."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """No faults, and nothing counted so far."""
        with self._lock:
            self.schedule, self.rules, self.without_ranges, self.without_length = None, [], False, False
            self.requests, self.injected = [], Counter()

    def counts(self) -> dict[str, int]:
        """Requests by operation."""
        with self._lock:
            return dict(sorted(Counter(request.operation for request in self.requests).items()))

    def take(self, request: Request) -> Fault | None:
        """Counts the request and says what befalls it."""
        with self._lock:
            self.requests.append(request)
            rule = next((rule for rule in self.rules if rule.claims(request)), None)
            fault = rule.fault if rule else self.schedule.fault(len(self.requests)) if self.schedule else None
            if fault:
                self.injected[f"{fault.kind} {fault.status}" if fault.kind == "error" else fault.kind] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Proxy

    def setup(self) -> None:
        super().setup()
        with self.owner._lock:
            self.owner._open.add(self.connection)

    def finish(self) -> None:
        with self.owner._lock:
            self.owner._open.discard(self.connection)
        with contextlib.suppress(OSError):  # what a reset left unsent
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):  # a client that went away; a file we closed
            super().handle()

    def log_message(self, *arguments: Any) -> None: ...

    def _serve(self) -> None:
        body = self._body()
        request = Request(
            _operation(self.command, self.path, self.headers),
            unquote(urlsplit(self.path).path),
            self.headers.get("Range"),
            len(body),
        )
        fault = self.owner.take(request)
        kind = fault.kind if fault else ""
        if fault and kind == "error":
            code = fault.code or ERRORS.get(fault.status, "InternalError")
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            self._answer(fault.status, [("Content-Type", "application/xml")], text)
            return
        if fault and kind == "redirect":
            self._answer(fault.status, [("Location", f"{self.path}?redirected")], b"")
            return
        if fault and kind == "delay":
            time.sleep(fault.seconds)
        if kind == "reset_before":
            self._reset()
            return
        status, headers, content = self._forward(body)
        if kind == "reset_after" or (kind in ("reset_body", "short_body") and len(content) < 2):
            self._reset()
        else:
            self._answer(status, headers, content, kind)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(parts)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.owner.upstream, timeout=60)
        dropped = HOP_BY_HOP | ({"range"} if self.owner.without_length or self.owner.without_ranges else set())
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            if self.command == "HEAD" and (length := answer.getheader("Content-Length")):
                kept.append(("Content-Length", length))
            return answer.status, kept, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], content: bytes, cut: str = "") -> None:
        unknown = self.owner.without_length
        self.send_response(status)
        for name, value in headers:
            if not (unknown and name.lower() in ("content-length", "accept-ranges")):
                self.send_header(name, value)
        if unknown:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2
        self.wfile.write(content[:half] if cut.endswith("_body") else content)
        if cut == "reset_body":
            self._reset()
        elif cut == "short_body":
            self.close_connection = True

    def _reset(self) -> None:
        """Closes without a farewell: the client reads ECONNRESET."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


def _operation(method: str, target: str, headers: Any) -> str:
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    if method == "POST":
        return "CREATE_UPLOAD" if "uploads" in query else "COMPLETE_UPLOAD" if "uploadId" in query else "DELETE_MANY"
    if method == "PUT" and "uploadId" in query:
        return "UPLOAD_PART"
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "COPY"
    if method == "DELETE" and "uploadId" in query:
        return "ABORT_UPLOAD"
    return "LIST" if method == "GET" and ("list-type" in query or "prefix" in query) else method


class ObjectStore:
    """moto and the proxy, with one empty bucket; a context manager that ends both."""

    def __enter__(self) -> ObjectStore:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.moto.start()
        self.proxy = Proxy(self.moto.get_host_and_port())
        self._direct("PUT", f"/{BUCKET}")
        return self

    def __exit__(self, *exception: object) -> None:
        self.proxy.close()
        self._direct("POST", "/moto-api/reset")
        self.moto.stop()

    def _direct(self, method: str, target: str, body: bytes = b"") -> bytes:
        """A request that does not pass the proxy."""
        connection = http.client.HTTPConnection(*self.moto.get_host_and_port(), timeout=60)
        try:
            headers = {"Authorization": f"AWS {ACCESS_KEY}:unchecked", "x-amz-acl": "public-read"}
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise OSError(f"{method} {target}: {answer.status} {content[:300]!r}")
            return content
        finally:
            connection.close()

    def put(self, key: str, content: bytes) -> None:
        self._direct("PUT", f"/{BUCKET}/{quote(key)}", content)

    def get(self, key: str) -> bytes:
        return self._direct("GET", f"/{BUCKET}/{quote(key)}")

    def uri(self, key: str = "", bucket: str = BUCKET, port: int | None = None, credentials: bool = True) -> str:
        """The object's or prefix's s3:// URI."""
        user = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@" if credentials else ""
        options = f"scheme=http&endpoint_override=127.0.0.1:{port or self.proxy.port}&region=us-east-1"
        return f"s3://{user}{bucket}/{key}?{options}"

    def http(self, key: str) -> str:
        return f"http://127.0.0.1:{self.proxy.port}/{BUCKET}/{quote(key)}"
