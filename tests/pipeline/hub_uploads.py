"""The Hub on loopback that takes uploads too: what huggingface_hub asks of it to write a data set.

    POST /api/repos/create                           POST /api/validate-yaml
    POST /api/datasets/ORG/NAME/preupload/main       POST /datasets/ORG/NAME.git/info/lfs/objects/batch
    PUT  /upload/DIGEST                              POST /api/datasets/ORG/NAME/commit/main

Files of at least `UPLOADED_LFS_BYTES` go the way of large files: their hash is asked for first, then they are put, then
the commit names them. `fail` puts are refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from hub_server import HubServer, Repository

UPLOADED_LFS_BYTES = 2_000
TOKEN = "hf_writer"


class UploadHub(HubServer):
    def __init__(self) -> None:
        super().__init__()
        self.uploaded: dict[str, bytes] = {}
        self.puts: list[str] = []
        """Digests of the large files that came."""
        self.messages: list[str] = []
        """Of the commits."""
        self.fail = 0

    def add_routes(self) -> None:
        super().add_routes()
        name = r"(?P<name>[\w.-]+/[\w.-]+)"
        self.route("POST", "/api/repos/create", self.create)
        self.route("POST", "/api/validate-yaml", self.validate)
        self.route("POST", f"/api/datasets/{name}/preupload/main", self.preupload)
        self.route("POST", rf"/datasets/{name}\.git/info/lfs/objects/batch", self.batch)
        self.route("PUT", "/upload/(?P<digest>[0-9a-f]+)", self.put)
        self.route("POST", f"/api/datasets/{name}/commit/main", self.commit)

    def files(self, name: str) -> dict[str, bytes]:
        """Of a repository's last commit."""
        commits = self.repositories[name].commits
        return commits[-1][1] if commits else {}

    def create(self, request: Any, query: dict[str, str]) -> None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            request.refuse(401, None, "Invalid username or password.")
            return
        asked = json.loads(request.body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.endpoint}/datasets/{name}"
        if name in self.repositories:
            request.answer(409, json.dumps({"error": "it exists", "url": url}).encode(), {})
        elif name.startswith("foreign/"):
            request.refuse(403, None, "You don't have the rights to create a dataset under this namespace")
        else:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.repositories[name] = Repository(private=private, tokens={TOKEN})
            self.repositories[name].push({".gitattributes": b"*.parquet filter=lfs\n"})
            request.json({"url": url, "id": name, "name": name})

    def validate(self, request: Any, query: dict[str, str]) -> None:
        request.json({"errors": [], "warnings": []})

    def preupload(self, request: Any, query: dict[str, str], name: str) -> None:
        modes = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["size"] >= UPLOADED_LFS_BYTES else "regular",
                "shouldIgnore": False,
            }
            for each in json.loads(request.body)["files"]
        ]
        request.json({"files": modes})

    def batch(self, request: Any, query: dict[str, str], name: str) -> None:
        objects = []
        for each in json.loads(request.body)["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.uploaded:
                entry["actions"] = {"upload": {"href": f"{self.endpoint}/upload/{each['oid']}"}}
            objects.append(entry)
        request.json({"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def put(self, request: Any, query: dict[str, str], digest: str) -> None:
        with self.lock:
            failing, self.fail = self.fail > 0, max(0, self.fail - 1)
        if failing or hashlib.sha256(request.body).hexdigest() != digest:
            request.refuse(400, None, "broken")
            return
        self.uploaded[digest] = request.body
        self.puts.append(digest)
        request.json({})

    def commit(self, request: Any, query: dict[str, str], name: str) -> None:
        files = {**self.files(name)}
        for line in request.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.uploaded[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        repository = self.repositories[name]
        commit = repository.push({})
        repository.commits[-1] = (commit, files)
        url = f"{self.endpoint}/datasets/{name}/commit/{commit}"
        request.json({"commitUrl": url, "commitOid": commit, "success": True})
