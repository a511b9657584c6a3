"""Models and lists that stages name: their content in fingerprints, their files on every worker.

A field listed in a stage's `files` holds a path or URI of a file, a folder or a pattern, or a tuple of those. The
driver hashes what is there. Small files travel to the workers with the step's shared data, which Ray keeps once a
node; large ones are opened where they are, and fetched into the machine's temporary folder where they are remote. The
stage that a worker gets names local paths: a pattern in a tuple has become the sorted paths, a folder stays a folder.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import xxhash

from gristmill.pipeline.engine.identity import Content, Identified, versions
from gristmill.stages.interface import Stage, traits
from gristmill.storage.uris import Found, find, is_folder, is_local, names_many, open_input

SHIPPED_BYTES = 64 << 20
"""A larger file does not travel with the step."""
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Resource:
    """One file of what a field names."""

    name: str
    """Below the folder or the root of the pattern."""
    uri: str
    size: int
    digest: str
    content: bytes | None
    """None for a large file."""


@dataclass(frozen=True, slots=True)
class Named:
    """The files that one value of a field names, sorted by name."""

    files: tuple[Resource, ...]
    folder: bool
    many: bool
    """A folder or a pattern."""


Resources = Mapping[str, Named]
Value: TypeAlias = str | Sequence[str]
"""Of a field that names files: one name, or several; empty for none."""
StageT = TypeVar("StageT", bound=Stage, covariant=True)
AnyStage = TypeVar("AnyStage", bound=Stage)


@dataclass(frozen=True, slots=True)
class Equipped(Identified, Generic[StageT]):
    """Stages with the files that they name: what a step that runs stages sends to its tasks.

    A stage is known by its name, version, module, configuration and the libraries that it calls; a file by its content
    and not by its place.
    """

    stages: tuple[StageT, ...]
    resources: Resources

    def identity(self) -> Content:
        """What the stages name is in what stands for them."""
        given: dict[str, Content] = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**given, "resources": None, "stages": [self._identity(stage) for stage in self.stages]}

    def _identity(self, stage: Stage) -> Content:
        configured: dict[str, Content] = {}
        if is_dataclass(stage):
            configured |= {field.name: getattr(stage, field.name) for field in fields(stage)}
        for name in stage.files:
            configured[name] = [_content(self.resources[value]) for value in _values(getattr(stage, name))]
        return {
            "name": stage.name,
            "version": stage.version,
            "module": type(stage).__module__,
            "libraries": versions(traits(stage).libraries),
            "fields": configured,
        }

    def here(self) -> tuple[StageT, ...]:
        """The stages with fields that name files on this machine."""
        return tuple(_here(stage, self.resources) for stage in self.stages)


def _here(stage: AnyStage, resources: Resources) -> AnyStage:
    paths: dict[str, Value] = {}
    for name in stage.files:
        value: Value = getattr(stage, name)
        if isinstance(value, str) and value:
            paths[name] = _local(value, resources[value])[0]
        elif value:
            paths[name] = tuple(path for each in value for path in _local(str(each), resources[str(each)]))
    return replace(stage, **paths) if paths and is_dataclass(stage) else stage


def equipped(stages: Sequence[AnyStage]) -> Equipped[AnyStage]:
    """With every file that the stages name. ValueError in one sentence where there is none."""
    given = sorted({value for stage in stages for value in stage_files(stage)})
    found = {
        value: Named(tuple(_resource(found) for found in find(value)), is_folder(value), names_many(value))
        for value in given
    }
    return Equipped(tuple(stages), found)


def stage_files(stage: Stage) -> list[str]:
    """What the stage's fields name, empty ones left out."""
    return [value for name in stage.files for value in _values(getattr(stage, name))]


def _values(value: Value | None) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)


def _resource(found: Found) -> Resource:
    with open_input(found.uri) as stream:
        if found.size <= SHIPPED_BYTES:
            content: bytes = stream.read()
            return Resource(found.path, found.uri, len(content), hashlib.sha256(content).hexdigest(), content)
        digest = xxhash.xxh3_128()
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return Resource(found.path, found.uri, found.size, digest.hexdigest(), None)


def _content(named: Named) -> Content:
    """Of a file its content alone, of several their names too: a model's language is the name of its folder."""
    return [[file.name, file.digest] if named.many else file.digest for file in named.files]


def _local(value: str, named: Named) -> tuple[str, ...]:
    """Paths on this machine of what a field names; one for a file or a folder."""
    if named.folder:
        return (_folder(value, named.files),)
    return tuple(local_copy(file) for file in named.files)


def is_here(file: Resource) -> bool:
    return is_local(file.uri) and os.path.isfile(file.uri) and os.path.getsize(file.uri) == file.size


def _folder(value: str, files: tuple[Resource, ...]) -> str:
    if all(is_here(file) for file in files):
        return os.path.abspath(value.removeprefix("file://"))
    digest = hashlib.sha256("\n".join(f"{file.name}\0{file.digest}" for file in files).encode()).hexdigest()
    for file in files:
        _written(cache() / digest / "files" / file.name, file)
    return str(cache() / digest / "files")


def local_copy(file: Resource) -> str:
    """A file with this content: the original where it is here, else one in the temporary folder, named by its hash."""
    if is_here(file):
        return file.uri.removeprefix("file://")
    return _written(cache() / file.digest / posixpath.basename(file.name), file)


def cache() -> Path:
    return Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"


def _written(target: Path, file: Resource) -> str:
    if not target.exists() or target.stat().st_size != file.size:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{uuid.uuid4().hex}"
        with temporary.open("wb") as out:
            for block in _blocks(file):
                out.write(block)
        if temporary.stat().st_size != file.size:
            temporary.unlink()
            raise OSError(f"{file.uri}: is not what it was when the run began; run again")
        temporary.replace(target)
    return str(target)


def _blocks(file: Resource) -> Iterable[bytes]:
    if file.content is not None:
        yield file.content
        return
    with open_input(file.uri) as stream:
        while block := stream.read(BLOCK_BYTES):
            yield block
