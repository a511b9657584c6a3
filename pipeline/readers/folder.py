"""Files of this computer that a path, a folder or a pattern names, whatever else lies there; and opening any input.

Only regular files are taken. Links to files and to folders are followed, but not into a folder that one is already in,
so a loop of links ends, and not out of the folder of a source tree. Pipes, sockets, devices and links that lead nowhere
are never opened: `find` gives them as `PassedOver`, so that they can be named. Names that are not valid UTF-8 are
written as `pipeline.readers.names` says, in paths and in URIs; `open_file` finds the file again. Other storages are
listed by `gristmill.storage.uris`.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.pipeline.readers.names import is_plain, stored_name, text_name
from gristmill.storage.uris import WILD, Found, is_local, open_input, pattern
from gristmill.storage.uris import find as find_stored

if TYPE_CHECKING:
    import pyarrow as pa

    from gristmill.pipeline.readers.segments import Segment

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True)
class PassedOver(Found):
    """What has the name of an input and is no file; `size` is 0."""

    why: str = ""


class ChangedError(OSError):
    """An input is not what it was when the run was planned: trying again does not help, running again does."""

    final = True


def find(uri: str, confined: bool = False) -> list[Found]:
    """Files that `uri` names, sorted by path; on this computer also `PassedOver`. ValueError in one sentence where
    there is no file or a folder cannot be listed. confined: links that lead out of the folder are passed over."""
    if not is_local(uri):
        return find_stored(uri)
    path = str(Path(uri.removeprefix("file://")).absolute())
    name = stored_name(path)
    wild = None if os.path.lexists(name) else WILD.search(path)
    if wild is None:
        if not os.path.lexists(name):
            raise ValueError(f"{uri}: no such file or folder; check the source's uri")
        if not os.path.isdir(name):
            found = _found(name, posixpath.basename(name))
            if isinstance(found, PassedOver) or found is None:
                why = found.why if found else "gone"
                raise ValueError(f"{uri}: this is {why} and no file; write its content to a file and name that")
            return [found]
        root, glob = name, None
    else:
        root = stored_name(path[: wild.start()].rpartition("/")[0]) or b"/"
        glob = path[wild.start() :] if root == b"/" else path[len(text_name(root)) :].lstrip("/")
    matches = re.compile(".*" if glob is None else pattern(glob), re.S)
    levels = None if glob is None or "**" in glob else glob.count("/")
    found_here = [file for file in _walk(root, levels, confined) if matches.fullmatch(file.path)]
    if not any(not isinstance(file, PassedOver) for file in found_here):
        raise ValueError(f"{uri}: no file matches; check the source's uri")
    return sorted(found_here, key=lambda file: file.path)


def find_within(uri: str) -> list[Found]:
    """The same, but that links out of the folder are passed over."""
    return find(uri, confined=True)


def open_file(uri: str) -> pa.NativeFile:
    """Opens a file for reading at any position. FileNotFoundError or OSError from the storage where it fails."""
    if not is_local(uri) or is_plain(uri):
        return open_input(uri)
    import pyarrow as pa

    return pa.PythonFile(open(stored_name(uri.removeprefix("file://")), "rb"), mode="r")


def open_segment(segment: Segment) -> pa.NativeFile:
    """The segment's file. ChangedError where it is longer or shorter than when the run was planned."""
    file = open_file(segment.uri)
    size = file.size()
    if size == segment.size:
        return file
    file.close()
    raise ChangedError(
        f"{segment.uri}: {segment.size:,} bytes when the run was planned and {size:,} now; "
        "leave the inputs alone while they are read, and run again"
    )


def _leads_out(entry: os.DirEntry[bytes], home: bytes) -> bool:
    try:
        target = os.path.realpath(entry.path, strict=True)
    except OSError:
        return False  # nowhere, or in a circle: said elsewhere
    return os.path.commonpath([home, target]) != home


def _walk(root: bytes, levels: int | None, confined: bool) -> Iterator[Found]:
    """Everything below `root` that is no folder, at most `levels` folders deep."""
    home = os.path.realpath(root)
    waiting: list[tuple[bytes, bytes, tuple[tuple[int, int], ...]]] = [(root, b"", ())]
    while waiting:
        folder, below, outer = waiting.pop()
        try:
            here = os.stat(folder)
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            raise ValueError(
                f"{text_name(folder)}: this folder cannot be listed ({error.strerror}); make it readable or "
                "name the files beside it"
            ) from error
        inside = (*outer, (here.st_dev, here.st_ino))
        for entry in entries:
            path = below + entry.name
            if confined and entry.is_symlink() and _leads_out(entry, home):
                yield PassedOver(
                    text_name(entry.path), text_name(path), 0, "a link that leads out of the source's folder"
                )
                continue
            try:
                status = entry.stat()
            except OSError:
                status = None
            if status is not None and stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in inside:
                    yield PassedOver(text_name(entry.path), text_name(path), 0, "a link to a folder that it is in")
                elif levels is None or len(outer) < levels:
                    waiting.append((entry.path, path + b"/", inside))
            elif (found := _found(entry.path, path)) is not None:
                yield found


def _found(name: bytes, path: bytes) -> Found | None:
    """None if it vanished meanwhile."""
    try:
        status = os.stat(name)
    except OSError:
        if not os.path.islink(name):
            return None
        return PassedOver(text_name(name), text_name(path), 0, "a link that leads nowhere")
    if stat.S_ISREG(status.st_mode):
        return Found(text_name(name), text_name(path), status.st_size)
    why = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
    return PassedOver(text_name(name), text_name(path), 0, why)
