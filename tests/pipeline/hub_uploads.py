"""What huggingface_hub asks of the Hub to write a data set, on loopback: repositories are dictionaries of files.

    POST /api/repos/create                           POST /api/validate-yaml
    GET  /api/datasets/ORG/NAME                      GET  /api/datasets/ORG/NAME/tree/main
    POST /api/datasets/ORG/NAME/preupload/main       POST /datasets/ORG/NAME.git/info/lfs/objects/batch
    PUT  /store/DIGEST                               POST /api/datasets/ORG/NAME/commit/main

Files of at least `LFS_BYTES` go the way of large files: their hash is asked for first, then they are put, then the
commit names them. `fail` makes as many puts answer 500.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_BYTES = 2_000
TOKEN = "hf_writer"
NAME = r"(?P<name>[\w.-]+/[\w.-]+)"


@dataclass
class UploadHub:
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    """Digests of the large files that came."""
    commits: list[str] = field(default_factory=list)
    """Their messages."""
    fail: int = 0
    heads: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.lock = threading.Lock()
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def head(self, name: str) -> str:
        return hashlib.sha1(f"{name}{self.heads.get(name, 0)}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: UploadHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if self.command == "PUT":
            return self.put(path, body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        for method, pattern, function in ROUTES:
            match = re.fullmatch(pattern, path) if method == self.command else None
            if match is not None:
                name = match.groupdict().get("name")
                if name is not None and name not in self.hub.repositories:
                    return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                return function(self, body, name or "")
        return self.answer(404, {"error": path})

    do_GET = do_PUT = do_POST

    def create(self, body: bytes, _: str) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        url = f"{self.hub.endpoint}/datasets/{name}"
        if name in self.hub.repositories:
            return self.answer(409, {"error": "You already created this dataset repo", "url": url})
        if name.startswith("foreign/"):
            return self.answer(403, {"error": "You don't have the rights to create a dataset under this namespace"})
        self.hub.repositories[name] = {}
        self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        return self.answer(200, {"url": url, "id": name, "name": name})

    def validate(self, body: bytes, _: str) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def info(self, body: bytes, name: str) -> None:
        files = [{"rfilename": path} for path in sorted(self.hub.repositories[name])]
        self.answer(200, {"id": name, "sha": self.hub.head(name), "siblings": files, "private": False})

    def tree(self, body: bytes, name: str) -> None:
        entries = [
            {"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}
            for path, data in sorted(self.hub.repositories[name].items())
        ]
        self.answer(200, entries)

    def preupload(self, body: bytes, name: str) -> None:
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["size"] >= LFS_BYTES else "regular",
                "shouldIgnore": False,
            }
            for each in json.loads(body)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, body: bytes, name: str) -> None:
        objects = []
        for each in json.loads(body)["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/store/{each['oid']}"}}
            objects.append(entry)
        self.answer(200, {"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def put(self, path: str, body: bytes) -> None:
        with self.hub.lock:
            failing, self.hub.fail = self.hub.fail > 0, max(0, self.hub.fail - 1)
        digest = hashlib.sha256(body).hexdigest()
        if failing or path != f"/store/{digest}":
            return self.answer(400, {"error": "broken"})
        self.hub.blobs[digest] = body
        self.hub.puts.append(digest)
        return self.answer(200, {})

    def commit(self, body: bytes, name: str) -> None:
        files = self.hub.repositories[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.hub.commits.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.heads[name] = self.hub.heads.get(name, 0) + 1
        oid = self.hub.head(name)
        url = f"{self.hub.endpoint}/datasets/{name}/commit/{oid}"
        self.answer(200, {"commitUrl": url, "commitOid": oid, "success": True})

    def answer(
        self, status: int, value: Any, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


ROUTES = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/datasets/{NAME}(?:/revision/main)?", _Handler.info),
    ("GET", f"/api/datasets/{NAME}/tree/main", _Handler.tree),
    ("POST", f"/api/datasets/{NAME}/preupload/main", _Handler.preupload),
    ("POST", rf"/datasets/{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("POST", f"/api/datasets/{NAME}/commit/main", _Handler.commit),
)
