"""The tree of files below one URI: local, s3, gs or hdfs through `pyarrow.fs`.

Paths are relative to the root and use '/'. `create` makes a file only if it is absent: with a hard link on a
local disk; elsewhere by looking first, which is enough because the driver that holds the lease is the only one
that commits. A `Store` is pickled as its URI.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from pipeline.checked import BlockHash


class Store:
    def __init__(self, uri: str) -> None:
        """`uri`: a local path (made absolute) or a URI with a scheme that pyarrow.fs knows."""
        self.uri = uri if "://" in uri else str(Path(uri).absolute())
        self.local = "://" not in uri or uri.startswith("file://")
        if self.local:
            self.root = self.uri.removeprefix("file://")
            self.filesystem: pafs.FileSystem = pafs.LocalFileSystem()
        else:
            self.filesystem, self.root = pafs.FileSystem.from_uri(uri)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def path(self, relative: str) -> str:
        return posixpath.join(self.root, relative) if relative else self.root

    def exists(self, relative: str) -> bool:
        return self.filesystem.get_file_info(self.path(relative)).type != pafs.FileType.NotFound

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
        return self.filesystem.open_input_file(self.path(relative))

    def read(self, relative: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(relative)) as stream:
            return cast(bytes, stream.read())

    def _parent(self, relative: str) -> None:
        if self.local:
            os.makedirs(posixpath.dirname(self.path(relative)), exist_ok=True)

    def _temporary(self, relative: str, content: bytes) -> str:
        """A local file beside `relative` with this content, on disk before it gets its name."""
        name = f"{self.path(relative)}.{uuid.uuid4().hex[:12]}"
        self._parent(relative)
        with open(name, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        return name

    def _sync_folder(self, relative: str) -> None:
        """A name outlives a loss of power once its folder is on disk."""
        folder = os.open(posixpath.dirname(self.path(relative)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def open_output(self, relative: str) -> Iterator[IO[bytes] | pa.NativeFile]:
        """A new file, on disk when the block ends; what an exception leaves is removed as far as possible."""
        self._parent(relative)
        try:
            if self.local:
                with open(self.path(relative), "wb", buffering=1 << 20) as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
            else:
                with self.filesystem.open_output_stream(self.path(relative)) as remote:
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
        temporary = self._temporary(relative, content)
        os.replace(temporary, self.path(relative))

    def create(self, relative: str, content: bytes) -> bool:
        """Writes the file only if it is absent; says whether it did."""
        if not self.local:
            if self.exists(relative):
                return False
            self.write(relative, content)
            return True
        temporary = self._temporary(relative, content)
        try:
            os.link(temporary, self.path(relative))
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        self._sync_folder(relative)
        return True

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
        if self.exists(relative):
            self.filesystem.delete_file(self.path(relative))

    def delete_folder(self, relative: str) -> None:
        if self.exists(relative):
            self.filesystem.delete_dir(self.path(relative))

    def checksum(self, relative: str) -> str:
        """xxh3_128 of the file's content, hexadecimal."""
        digest = xxhash.xxh3_128()
        with self.filesystem.open_input_stream(self.path(relative)) as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
        return digest.hexdigest()


class HashingFile:
    """A binary file for writing that counts and hashes what passes through it. `rows` is for whoever writes to set."""

    def __init__(self, sink: pa.NativeFile | IO[bytes]) -> None:
        self.sink = sink
        self.digest = BlockHash()
        self.rows = 0
        self.bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        self.sink.write(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self.sink.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
