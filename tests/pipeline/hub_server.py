"""A Hugging Face Hub on loopback: what huggingface_hub asks of the real one to list and read datasets.

`HubServer` answers in threads. `repositories` holds the datasets, each a list of commits; `push` adds one. A file of at
least `LFS_BYTES` is an LFS file: its address redirects to another host (`localhost` beside `127.0.0.1`) with a
signature that is good for `signature_uses` requests, and that host refuses an Authorization header, as object stores
do. Every request is in `requests`. What goes wrong is told by `rules`.

    GET   /api/datasets?author=                    GET  /api/datasets/ORG/NAME[/revision/REV]
    GET   /api/datasets/ORG/NAME/tree/REV[/PATH]   POST /api/datasets/ORG/NAME/paths-info/REV
    GET   /api/datasets/ORG/NAME/refs              HEAD, GET /datasets/ORG/NAME/resolve/REV/PATH

Uploads are not here: a subclass adds handlers by `route`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

LFS_BYTES = 100_000


@dataclass
class Repository:
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    """(commit, all files by path), the oldest first."""
    references: dict[str, str] = field(default_factory=dict)
    """Tags, branches and special references by name -> commit; `main` is the last commit."""
    private: bool = False
    gated: bool = False
    tokens: set[str] = field(default_factory=set)
    """Those that may read it, where it is private or gated."""
    renamed: str | None = None
    """ORG/NAME that it is called now, where it is reached by a former name."""

    def push(self, files: Mapping[str, bytes]) -> str:
        """Adds files to those of the commit before; the new commit."""
        before = self.commits[-1][1] if self.commits else {}
        commit = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((commit, {**before, **files}))
        return commit

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.references.get(revision, revision)
        if commit == "main" and self.commits:
            return self.commits[-1]
        return next((each for each in self.commits if each[0] == commit), None)


@dataclass
class Rule:
    """What happens to requests whose method and target match, `times` of them."""

    what: str
    """status | cut (the connection is reset in mid-answer) | silent_cut (closed in mid-answer)"""
    match: str
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    method: str
    target: str
    """Path and query."""
    host: str
    headers: dict[str, str]


class HubServer:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.page_size = 1000
        self.signature_uses = 1_000_000
        self.rules: list[Rule] = []
        self.requests: list[Asked] = []
        self.signatures: dict[str, int] = {}
        self.blobs: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.routes: list[tuple[str, re.Pattern[str], Callable[..., None]]] = []
        self.add_routes()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def clear(self) -> None:
        """As new."""
        self.repositories, self.rules, self.requests = {}, [], []
        self.page_size, self.signature_uses = 1000, 1_000_000

    def dataset(self, name: str, files: Mapping[str, bytes], **fields: Any) -> Repository:
        repository = self.repositories[name] = Repository(**fields)
        repository.push(files)
        return repository

    def asked(self, pattern: str) -> list[Asked]:
        return [each for each in self.requests if re.search(pattern, f"{each.method} {each.target}")]

    def route(self, method: str, pattern: str, handler: Callable[..., None]) -> None:
        """`handler(request, query, **groups)` answers requests whose decoded path matches; later ones come first."""
        self.routes.insert(0, (method, re.compile(pattern), handler))

    def add_routes(self) -> None:
        name = r"(?P<name>[\w.-]+/[\w.-]+)"
        revision = r"(?P<revision>[^/]+)"
        self.route("GET", "/api/datasets", self.list_datasets)
        self.route("GET", f"/api/datasets/{name}", self.info)
        self.route("GET", f"/api/datasets/{name}/refs", self.refs)
        self.route("GET", f"/api/datasets/{name}/revision/{revision}", self.info)
        self.route("GET", f"/api/datasets/{name}/tree/{revision}(?:/(?P<path>.*))?", self.tree)
        self.route("POST", f"/api/datasets/{name}/paths-info/{revision}", self.paths_info)
        for method in ("GET", "HEAD"):
            self.route(method, f"/datasets/{name}/resolve/{revision}/(?P<path>.*)", self.resolve)
            self.route(method, "/store/(?P<digest>[0-9a-f]+)", self.stored)

    # -- answers

    def list_datasets(self, request: _Handler, query: dict[str, str]) -> None:
        owner = query.get("author", "")
        names = [n for n, r in self.repositories.items() if n.startswith(f"{owner}/") and not r.private]
        request.json([{"id": name} for name in sorted(names)])

    def info(self, request: _Handler, query: dict[str, str], name: str, revision: str = "main") -> None:
        found = self.readable(request, name, revision, gate=False)
        if found is not None:
            repository = self.repositories[name]
            request.json({"id": repository.renamed or name, "sha": found[0], "private": repository.private})

    def refs(self, request: _Handler, query: dict[str, str], name: str) -> None:
        if self.readable(request, name, "main", gate=False) is None:
            return
        repository = self.repositories[name]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repository.references.items()]
        head = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.commits[-1][0]}
        request.json({"branches": [head], "tags": tags, "converts": []})

    def tree(self, request: _Handler, query: dict[str, str], name: str, revision: str, path: str | None = None) -> None:
        found = self.readable(request, name, revision, gate=False)
        if found is None:
            return
        below = f"{path}/" if path else ""
        entries = self.entries(found[1], below, query.get("recursive", "").lower() == "true")
        if not entries and below:
            request.refuse(404, "EntryNotFound")
            return
        start = int(query.get("cursor", "0"))
        page = entries[start : start + self.page_size]
        headers = {}
        if start + self.page_size < len(entries):
            following = urlencode({**query, "cursor": start + self.page_size})
            headers["Link"] = f'<{self.endpoint}{urlsplit(request.path).path}?{following}>; rel="next"'
        request.json(page, headers)

    def entries(self, files: dict[str, bytes], below: str, recursive: bool) -> list[dict[str, Any]]:
        folders, result = set(), []
        for path in sorted(files):
            if not path.startswith(below):
                continue
            parts = path[len(below) :].split("/")
            for depth in range(1, len(parts)):
                folder = below + "/".join(parts[:depth])
                if folder not in folders and (recursive or depth == 1):
                    result.append({"type": "directory", "path": folder, "oid": _blob(folder.encode()), "size": 0})
                folders.add(folder)
            if recursive or len(parts) == 1:
                result.append(_entry(path, files[path]))
        return result

    def paths_info(self, request: _Handler, query: dict[str, str], name: str, revision: str) -> None:
        found = self.readable(request, name, revision, gate=False)
        if found is None:
            return
        asked = parse_qs(request.body.decode()).get("paths", [])
        if request.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(request.body)["paths"]
        result = []
        for path in asked:
            if path in found[1]:
                result.append(_entry(path, found[1][path]))
            elif any(each.startswith(f"{path}/") for each in found[1]):
                result.append({"type": "directory", "path": path, "oid": _blob(path.encode()), "size": 0})
        request.json(result)

    def resolve(self, request: _Handler, query: dict[str, str], name: str, revision: str, path: str) -> None:
        found = self.readable(request, name, revision, gate=True)
        if found is None:
            return
        commit, files = found
        if path not in files:
            request.refuse(404, "EntryNotFound")
            return
        data = files[path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(data) < LFS_BYTES:
            request.content(data, headers | {"ETag": f'"{_blob(data)}"'})
            return
        digest, signature = hashlib.sha256(data).hexdigest(), uuid.uuid4().hex
        with self.lock:
            self.blobs[digest], self.signatures[signature] = data, self.signature_uses
        headers |= {
            "X-Linked-Size": str(len(data)),
            "X-Linked-Etag": f'"{digest}"',
            "X-Xet-Hash": digest,
            "Location": f"http://localhost:{self.port}/store/{digest}?X-Amz-Signature={signature}",
        }
        request.answer(302, b"Found. Redirecting", headers)

    def stored(self, request: _Handler, query: dict[str, str], digest: str) -> None:
        if "Authorization" in request.headers:
            request.answer(400, b"Only one auth mechanism allowed", {})
            return
        with self.lock:
            left = self.signatures.get(query.get("X-Amz-Signature", ""), 0)
            self.signatures[query.get("X-Amz-Signature", "")] = left - 1
        if left <= 0:
            request.answer(403, b"Request has expired", {})
            return
        request.content(self.blobs[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    def readable(self, request: _Handler, name: str, revision: str, gate: bool) -> tuple[str, dict[str, bytes]] | None:
        """The commit; None where the request has been refused. gate: whether a gated dataset's content is asked for."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        repository = self.repositories.get(name)
        if token == "expired":
            request.refuse(401, None, "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and token not in repository.tokens):
            request.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif gate and repository.gated and token not in repository.tokens:
            request.refuse(403 if token else 401, "GatedRepo", f"Access to dataset {name} is restricted.")
        elif (found := repository.at(revision)) is None:
            request.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": _blob(data), "size": len(data)}
    if len(data) >= LFS_BYTES:
        digest = hashlib.sha256(data).hexdigest()
        entry |= {"lfs": {"oid": digest, "size": len(data), "pointerSize": 134}, "xetHash": digest}
    return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_GET(self) -> None:
        self.cut = ""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        asked = Asked(self.command, self.path, self.headers.get("Host", ""), dict(self.headers))
        with self.hub.lock:
            self.hub.requests.append(asked)
            rule = next(
                (r for r in self.hub.rules if r.times > 0 and re.search(r.match, f"{self.command} {self.path}")), None
            )
            if rule is not None:
                rule.times -= 1
        if rule is not None and rule.what == "status":
            self.answer(rule.status, b"{}", rule.headers)
            return
        if rule is not None:
            self.cut = rule.what
        path = re.sub(r"%2F", "\0", parts.path, flags=re.I)  # of a revision: it is one part of the path
        for method, pattern, handler in self.hub.routes:
            match = pattern.fullmatch(unquote(path)) if method == self.command else None
            if match is not None:
                groups = {
                    key: value.replace("\0", "/") for key, value in match.groupdict().items() if value is not None
                }
                handler(self, query, **groups)
                return
        self.answer(404, b"{}", {})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: int, code: str | None, message: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self.answer(status, json.dumps({"error": message}).encode(), headers | {"X-Error-Message": message})

    def content(self, data: bytes, headers: Mapping[str, str]) -> None:
        """The whole, or the range that is asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)?", self.headers.get("Range", ""))
        if asked is None:
            self.answer(200, data, headers)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        if start >= len(data):
            self.answer(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
            return
        self.answer(206, data[start:end], {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, quote(value, safe=" !\"#$%&'()*+,/:;<=>?@[]^_`{|}~"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if not self.cut:
                self.wfile.write(body)
                return
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if self.cut == "cut":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass
