"""The tree of files below one URI: local, s3, gs or hdfs through `pyarrow.fs`.

Paths are relative to the root and use '/'. `create` makes a file only if it is absent: with a hard link on a
local disk; elsewhere by claims, as pyarrow has no conditional writes, or, where the lease keeps others away, by looking
first. A `Store` is pickled as its URI.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from gristmill.storage.retrying import explaining, stored_file
from gristmill.storage.uris import filesystem_of, redacted

CLAIM_LOOKS, CLAIM_WAIT_S, CLAIM_STALE_S = 20, 0.25, 60.0


class Store:
    def __init__(self, uri: str) -> None:
        """`uri`: a local path (made absolute) or a URI with a scheme that pyarrow.fs knows."""
        self.uri = uri if "://" in uri else str(Path(uri).absolute())
        self.local = "://" not in uri or uri.startswith("file://")
        if self.local:
            self.root, self.scheme = self.uri.removeprefix("file://"), ""
            self.filesystem: pafs.FileSystem = pafs.LocalFileSystem()
        else:
            self.filesystem, path, form = filesystem_of(uri)
            self.root = path.rstrip("/")
            self.scheme = redacted(form.partition("{}")[0])
        self.shown = redacted(self.uri)
        """The URI for records, without credentials; it opens with those in the environment."""

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def path(self, relative: str) -> str:
        return posixpath.join(self.root, relative) if relative else self.root

    def location(self, relative: str = "") -> str:
        """A file's path or URI for messages, without credentials and options."""
        return self.scheme + self.path(relative)

    def exists(self, relative: str) -> bool:
        return bool(self.filesystem.get_file_info(self.path(relative)).type != pafs.FileType.NotFound)

    def size(self, relative: str) -> int:
        return int(self.filesystem.get_file_info(self.path(relative)).size or 0)

    def files(self, relative: str = "", recursive: bool = True) -> list[str]:
        """Files below `relative`, sorted, as paths relative to the root; empty if it does not exist."""
        selector = pafs.FileSelector(self.path(relative), recursive=recursive, allow_not_found=True)
        prefix = self.root.rstrip("/") + "/"
        found = self.filesystem.get_file_info(selector)
        return sorted(info.path.removeprefix(prefix) for info in found if info.type == pafs.FileType.File)

    def folders(self, relative: str = "") -> list[str]:
        """Names of the folders directly below `relative`, sorted."""
        selector = pafs.FileSelector(self.path(relative), allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)

    def open_input(self, relative: str) -> pa.NativeFile:
        handle = self.filesystem.open_input_file(self.path(relative))
        return handle if self.local else pa.PythonFile(stored_file(handle, self.location(relative)), mode="r")

    def read(self, relative: str) -> bytes:
        with explaining(self.location(relative)), self.filesystem.open_input_stream(self.path(relative)) as stream:
            return cast(bytes, stream.read())

    def _parent(self, relative: str) -> None:
        if self.local:
            os.makedirs(posixpath.dirname(self.path(relative)), exist_ok=True)

    def _temporary(self, relative: str, content: bytes, sync: bool) -> str:
        """A local file beside `relative` with this content; with `sync` on disk before it gets its name."""
        name = f"{self.path(relative)}.{uuid.uuid4().hex[:12]}"
        self._parent(relative)
        try:
            with open(name, "wb") as stream:
                stream.write(content)
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
        except OSError:  # a full disk, mostly
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        return name

    @contextmanager
    def open_output(self, relative: str) -> Iterator[IO[bytes] | pa.NativeFile]:
        """A new file; what an exception leaves is removed as far as possible.

        It is not forced to disk: what a loss of power takes is found by its checksum and computed again.
        """
        self._parent(relative)
        try:
            if self.local:
                with open(self.path(relative), "wb", buffering=1 << 20) as stream:
                    yield stream
            else:
                with (
                    explaining(self.location(relative)),
                    self.filesystem.open_output_stream(self.path(relative)) as remote,
                ):
                    yield remote
        except BaseException:
            with contextlib.suppress(OSError):
                self.delete(relative)
            raise

    def write(self, relative: str, content: bytes) -> None:
        """Replaces the file in one move, so that a reader sees the old or the new content."""
        if not self.local:
            with self.open_output(relative) as stream:
                stream.write(content)
            return
        temporary = self._temporary(relative, content, sync=True)
        try:
            os.replace(temporary, self.path(relative))
        except OSError:
            os.unlink(temporary)
            raise

    def create(self, relative: str, content: bytes, leased: bool = False) -> bool:
        """Writes the file only if it is absent; says whether it did.

        On an object store one of several that try at once succeeds, or none. `leased` says that nobody else tries,
        because the caller holds the output's lease, and saves five requests.
        """
        if not self.local:
            if self._is_file(relative):
                return False
            with nullcontext(True) if leased else self._alone(relative) as alone:
                if not alone or (not leased and self._is_file(relative)):
                    return False
                self.write(relative, content)
            return True
        temporary = self._temporary(relative, content, sync=False)
        try:
            os.link(temporary, self.path(relative))
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        return True

    def _is_file(self, relative: str) -> bool:
        """As `exists`, without a listing where it is absent."""
        try:
            self.filesystem.open_input_file(self.path(relative)).close()
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _alone(self, relative: str) -> Iterator[bool]:
        """Whether this process alone is in the block, on a storage that lists what was written (S3, GCS, HDFS).

        To get in, a process writes a claim, then lists all claims. It is in when it sees no other claim. When it sees a
        smaller name it gives way; when it sees only larger ones it waits for them to leave. Of two at once, the one
        that lists later sees the other's claim or what the other wrote. A claim a minute older than one's own is that
        of a process that died.
        """
        claim = f"{relative}.claim-{uuid.uuid4().hex}"
        folder = pafs.FileSelector(self.path(posixpath.dirname(relative)), allow_not_found=True)
        self.write(claim, b"")
        try:
            alone = False
            for _ in range(CLAIM_LOOKS):
                listed = self.filesystem.get_file_info(folder)
                claims = {info.path: info.mtime for info in listed if f"{self.path(relative)}.claim-" in info.path}
                mine = claims.get(self.path(claim))
                if mine is None:
                    break
                others = [path for path, written in claims.items() if (mine - written).total_seconds() < CLAIM_STALE_S]
                alone = others == [self.path(claim)]
                if alone or min(others) < self.path(claim):
                    break
                time.sleep(CLAIM_WAIT_S)
            yield alone
        finally:
            self.delete(claim)

    def move(self, source: str, target: str) -> None:
        """`source` takes the place of `target`."""
        if self.local:
            self._parent(target)
            os.replace(self.path(source), self.path(target))
        else:
            self.filesystem.move(self.path(source), self.path(target))

    def publish(self, source: str, target: str) -> None:
        """Makes `source` appear as `target` too: a hard link on a local disk, a server-side copy elsewhere."""
        if not self.local:
            self.filesystem.copy_file(self.path(source), self.path(target))
            return
        temporary = f"{self.path(target)}.{uuid.uuid4().hex[:12]}"
        self._parent(target)
        try:
            os.link(self.path(source), temporary)
        except OSError:  # a file system without hard links
            self.filesystem.copy_file(self.path(source), temporary)
        os.replace(temporary, self.path(target))

    def delete(self, relative: str) -> None:
        if not self.local:
            with contextlib.suppress(FileNotFoundError):
                self.filesystem.delete_file(self.path(relative))
        elif self.exists(relative):
            self.filesystem.delete_file(self.path(relative))

    def delete_folder(self, relative: str) -> None:
        if self.exists(relative):
            self.filesystem.delete_dir(self.path(relative))

    def delete_empty_folders(self, relative: str) -> None:
        """Removes the folders below `relative` that hold nothing; only a local disk has such."""
        if self.local:
            for folder, _, _ in os.walk(self.path(relative), topdown=False):
                with contextlib.suppress(OSError):  # it holds something
                    os.rmdir(folder)

    def checksum(self, relative: str) -> str:
        """xxh3_128 of the file's content, hexadecimal."""
        digest = xxhash.xxh3_128()
        with explaining(self.location(relative)), self.filesystem.open_input_stream(self.path(relative)) as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
        return digest.hexdigest()
