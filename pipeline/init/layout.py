"""How the files of one input fall into sources: by format, and by folder where folders differ.

A folder with `.git`, or of which most files are source code, is one source of code. Of all other files those of one
name (digits apart) and folder are one family; a few files of each are looked at. `uris_of` finds the folder or the
pattern that names exactly the files of a source and no others of the input.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gristmill.pipeline.init.kinds import Kind, is_code_name, kind_of, most_common
from gristmill.pipeline.readers.admission import RECORDS, is_beside
from gristmill.pipeline.readers.folder import PassedOver
from gristmill.pipeline.readers.source import format_by_name, stored_name
from gristmill.storage.uris import OPTIONS, Found, is_local, pattern

LOOKED_AT = 4
"""Files of a family whose first bytes are read."""
UNNAMED = 50
"""Of those without an extension, which say nothing of each other."""
MOST_LOOKED_AT = 1_000
"""Where the first that are looked at differ."""
PROJECT = frozenset({
    "setup.py", "pyproject.toml", "package.json", "cargo.toml", "go.mod", "pom.xml", "build.gradle", "cmakelists.txt",
    "makefile", "gemfile",
})  # fmt: skip
OUTPUT = ("run.json", "work/format.json")
"""Files by which an output of Gristmill is known."""
DOCUMENTATION = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|citation|authors|contributing|changelog|changes|dataset_infos?|state|"
    r"dataset_dict|manifest|md5sums?|sha\d+sums?)(?:[._-].*)?|.*\.(?:md5|sha1|sha256|sha512|sig|asc|idx|index)",
    re.I,
)
STATE_FOLDERS = frozenset({"__pycache__", ".git", ".hg", ".svn"})
CODE_SHARE = 0.5
DATA_SHARE = 0.1


@dataclass(frozen=True)
class Family:
    """Files that one look stands for."""

    files: tuple[Found, ...]
    kind: Kind


@dataclass
class Layout:
    """What lies below one input."""

    uri: str
    is_folder: bool
    files: list[Found]
    """All that are files."""
    families: list[Family] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    """Folders that are repositories, below the input; '' for all of it."""
    left_out: list[tuple[str, int, str]] = field(default_factory=list)
    """(path, bytes, why)."""
    formats: dict[str, str] = field(default_factory=dict)
    """Path -> format of all files that have one, also of those that are left out."""


def layout_of(uri: str, found: Sequence[Found], is_folder: bool) -> Layout:
    files = [file for file in found if not isinstance(file, PassedOver)]
    layout = Layout(uri, is_folder, files)
    layout.left_out += [(file.path, 0, f"it is {file.why}") for file in found if isinstance(file, PassedOver)]
    outputs = set(_outputs(files)) if is_folder else set()
    layout.code = code_folders(files) if is_folder else []
    code = set(layout.code)
    rest: list[Found] = []
    for file in files:
        if _within(file.path, outputs):
            layout.left_out.append((file.path, file.size, "it is of an output of Gristmill"))
        elif not _within(file.path, code):
            why = is_beside(file.path, records=True) if is_folder or len(files) > 1 else None
            if why is not None:
                layout.left_out.append((file.path, file.size, why))
            else:
                rest.append(file)
    families = [family for files_alike in _families(rest) for family in _looked(files_alike)]
    layout.formats = {
        file.path: family.kind.format for family in families for file in family.files if family.kind.format
    }
    _admit(layout, families)
    return layout


def _admit(layout: Layout, families: Sequence[Family]) -> None:
    """Families that are read; source files outside of repositories and files about the others are left out."""
    data = [family for family in families if family.kind.format not in (None, "code")]
    real = [family for family in data if not all(_is_documentation(file.path) for file in family.files)]
    for family in families:
        why = family.kind.why
        if family.kind.format == "code":
            if not layout.is_folder:
                layout.families.append(Family(family.files, Kind("tree", code=True)))
                continue
            why = "by its name it is source code among other files"
        elif family.kind.format is not None:
            if family in real or not real:
                layout.families.append(family)
                continue
            why = "it is about the other files"
        layout.left_out += [(file.path, file.size, why) for file in family.files]


def _is_documentation(path: str) -> bool:
    return DOCUMENTATION.fullmatch(posixpath.basename(path)) is not None


def _below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _within(path: str, folders: Container[str]) -> bool:
    """Whether the path lies in one of the folders, however many they are."""
    while path:
        path = posixpath.dirname(path)
        if path in folders:
            return True
    return False


def _outputs(files: Sequence[Found]) -> list[str]:
    paths = {file.path for file in files}
    return [path.removesuffix(OUTPUT[1]).rstrip("/") for path in paths if path.endswith(OUTPUT[1])
            and path.removesuffix(OUTPUT[1]) + OUTPUT[0] in paths]  # fmt: skip


def extension_of(path: str) -> str:
    """`.jsonl` of x.jsonl.zst; '' for none and for a number."""
    extension = posixpath.splitext(stored_name(path).lower())[1]
    return "" if extension[1:].isdigit() else extension


def family_of(path: str) -> tuple[str, str]:
    """(folder, name) without what counts."""
    folder, name = posixpath.split(path)
    stem = re.sub(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}|[0-9a-f]{32,}", "#", name.lower())
    return re.sub(r"\d+", "#", folder), re.sub(r"\d+", "#", stem)


def _families(files: Sequence[Found]) -> list[list[Found]]:
    """By folder and extension; of what has none, by name too."""
    grouped: dict[tuple[str, str, str], list[Found]] = {}
    for file in files:
        folder, name = family_of(file.path)
        extension = extension_of(file.path)
        named = format_by_name(file.path) not in (None, "text")
        grouped.setdefault((folder, extension, name if named or not extension else ""), []).append(file)
    return list(grouped.values())


def _looked(files: Sequence[Found]) -> list[Family]:
    """Families of one kind each: where the files that are looked at differ, all are."""
    silent = not extension_of(files[0].path)
    chosen = _spread(files, UNNAMED if silent else LOOKED_AT)
    kinds = {file.path: kind_of(file) for file in chosen}
    if len(set(kinds.values())) == 1 or len(files) > MOST_LOOKED_AT:
        return [Family(tuple(files), most_common(kinds.values()))]
    parts: dict[Kind, list[Found]] = {}
    for file in files:
        parts.setdefault(kinds.get(file.path) or kind_of(file), []).append(file)
    return [Family(tuple(part), kind) for kind, part in parts.items()]


def _spread(files: Sequence[Found], count: int) -> list[Found]:
    """The first, the last and some between; files of some size before small ones."""
    if len(files) <= count:
        return list(files)
    return [files[i * (len(files) - 1) // (count - 1)] for i in range(count)]


# Repositories


def code_folders(files: Sequence[Found]) -> list[str]:
    """Folders of source code, none within another."""
    repositories = {""} if any(file.path.startswith(".git/") for file in files) else set()
    repositories |= {file.path.partition("/.git/")[0] for file in files if "/.git/" in file.path}
    above = {parent for each in repositories for parent in _parents(each)}
    return _joined(sorted(_code_below("", files, repositories, above)), files)


def _parents(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


def _code_below(folder: str, files: Sequence[Found], repositories: set[str], above: set[str]) -> Iterator[str]:
    """above: folders that hold repositories."""
    seen = [file for file in files if not STATE_FOLDERS & set(file.path.split("/"))]
    if folder in repositories or (folder not in above and _is_code(seen)):
        yield folder
        return
    children: dict[str, list[Found]] = {}
    start = len(folder) + 1 if folder else 0
    for file in files:
        child, slash, _ = file.path[start:].partition("/")
        if slash and child not in STATE_FOLDERS:
            children.setdefault(f"{folder}/{child}" if folder else child, []).append(file)
    for child, inside in children.items():
        yield from _code_below(child, inside, repositories, above)


def _is_code(files: Sequence[Found]) -> bool:
    """Whether most files are source code, and data are no more than what lies about in a repository."""
    if not files:
        return False
    code = sum(1 for file in files if is_code_name(file.path) or posixpath.basename(file.path).lower() in PROJECT)
    data = sum(file.size for file in files if format_by_name(file.path) not in (None, "text"))
    return code >= CODE_SHARE * len(files) and data <= DATA_SHARE * sum(file.size for file in files)


def _joined(folders: Sequence[str], files: Sequence[Found]) -> list[str]:
    """The common parents in place of folders that are all there is in them."""
    known = set(folders)
    others = [file.path for file in files if not _within(file.path, known) and not _is_small_print(file.path)]
    held = {parent for path in others for parent in _parents(path)}
    while True:
        numbers = Counter(posixpath.dirname(folder) for folder in known if folder)
        parents = {parent for parent, number in numbers.items() if number > 1 and parent not in held}
        if not parents:
            return sorted(known)
        known = {folder for folder in known if not folder or posixpath.dirname(folder) not in parents} | parents


def _is_small_print(path: str) -> bool:
    return _is_documentation(path) or posixpath.basename(path).startswith(".")


# URIs


def joined(uri: str, path: str) -> str:
    """`path` below the folder `uri`, before the options of an object store."""
    options = "" if is_local(uri) else (found[0] if (found := OPTIONS.search(uri)) else "")
    return f"{uri.removesuffix(options).rstrip('/')}/{path}{options}" if path else uri


def escaped(path: str) -> str:
    """A path as a pattern that matches itself alone."""
    return re.sub(r"[\[*?]", lambda found: f"[{found[0]}]", path)


def uris_of(layout: Layout, wanted: Sequence[Found], format_name: str) -> list[tuple[str, list[Found]]]:
    """Folders, patterns or files that name the `wanted` files, each with its part of them, and no others that a source
    of the format would read."""
    paths = sorted(file.path for file in wanted)
    found = _one_uri(layout, paths, format_name)
    if found is not None:
        return [(found, list(wanted))]
    common = _common_folder(paths)
    parts: dict[str, list[Found]] = {}
    for file in wanted:
        child, slash, _ = file.path[len(common) + 1 if common else 0 :].partition("/")
        parts.setdefault(child if slash else f"/{family_of(child)[1]}", []).append(file)
    if len(parts) == 1:
        return [(file.uri, [file]) for file in wanted]
    return [pair for part in parts.values() for pair in uris_of(layout, part, format_name)]


def _one_uri(layout: Layout, paths: Sequence[str], format_name: str) -> str | None:
    whole = {file.path for file in layout.files if is_beside(file.path, records=True) is None}
    wanted = set(paths)
    if not layout.is_folder:
        return layout.uri if wanted == whole else None
    if wanted == whole:
        return layout.uri
    common = _common_folder(paths)
    if common and wanted == {path for path in whole if _below(path, common)}:
        return joined(layout.uri, common)
    if len(paths) == 1:
        return joined(layout.uri, paths[0])
    rivals = _rivals(layout, format_name) - wanted
    loose = format_name in (*RECORDS, "warc", "wet", "epub", "pdf")
    globs = [
        (glob, {path for path in whole if re.fullmatch(pattern(glob), path, re.S)}) for glob in _globs(common, paths)
    ]
    for glob, matched in globs:
        if matched == wanted:
            return joined(escaped(layout.uri) if is_local(layout.uri) else layout.uri, glob)
    if loose and not any(_below(path, common) for path in rivals):
        return joined(layout.uri, common)
    for glob, matched in globs:
        if loose and wanted <= matched and not matched & rivals:
            return joined(escaped(layout.uri) if is_local(layout.uri) else layout.uri, glob)
    return None


def _matching(glob: str, paths: Iterable[str]) -> set[str]:
    matches = re.compile(pattern(glob), re.S)
    return {path for path in paths if matches.fullmatch(path)}


def _rivals(layout: Layout, format_name: str) -> set[str]:
    """Files that a source of the format would take for its own: `pipeline.readers.admission` goes by content."""
    alike = RECORDS if format_name in RECORDS else {"warc", "wet"} if format_name in ("warc", "wet") else {format_name}
    return {path for path, name in layout.formats.items() if name in alike}


def _common_folder(paths: Sequence[str]) -> str:
    return posixpath.commonpath([posixpath.dirname(path) for path in paths]) if paths else ""


def _globs(common: str, paths: Sequence[str]) -> Iterator[str]:
    """Patterns that match all paths, those that say most first."""
    names = [posixpath.basename(path) for path in paths]
    start = f"{escaped(common)}/" if common else ""
    deep = any("/" in path[len(common) + 1 if common else 0 :] for path in paths)
    inner = "**/" if deep else ""
    endings = _common(names, lambda name: name[::-1])[::-1]
    ending = endings[endings.find(".") :] if "." in endings else ""
    beginning = re.sub(r"\d+$", "", _common(names, lambda name: name))
    for tail in dict.fromkeys([ending, *_cuts(names), ""]):
        for head in dict.fromkeys(["", beginning]):
            if head or tail:
                yield f"{start}{inner}{escaped(head)}*{tail}"


def _cuts(names: Iterable[str]) -> list[str]:
    """`.jsonl*` for names that end in .jsonl and .jsonl.gz."""
    extensions = {extension_of(name) for name in names}
    return [f"{next(iter(extensions))}*"] if len(extensions) == 1 and extensions != {""} else []


def _common(names: Sequence[str], turned: Callable[[str], str]) -> str:
    return posixpath.commonprefix([turned(name) for name in names]) if names else ""
