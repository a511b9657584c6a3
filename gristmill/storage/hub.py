"""Datasets of the Hugging Face Hub, read only: `hf://datasets/ORG/NAME[@REVISION]/PATH`, by huggingface-hub.

    pinned   repository and revision -> its commit, asked for once a listing; every file is then named by the commit
    files    the files of a folder of that commit, with size and a hash of the content
    opened   a file by ranges (`gristmill.storage.web`): LFS and Xet files are where the Hub's redirection leads

So a run reads one commit, whatever is pushed meanwhile. The library has the endpoint (HF_ENDPOINT) and the token
(HF_TOKEN, or what `hf auth login` stored); the token goes to the endpoint alone, never to where it redirects, into a
URI or into a message. The library's own file object is not used: its blocks are as large as ours, but it asks
the Hub, whose rate limits are low, for every one of them.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.extras import require
from gristmill.storage.retrying import ATTEMPTS, FIRST_WAIT_S, QUIET_S, RangedFile, Refused, StorageError
from gristmill.storage.web import ranged_file, stated_wait

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Result = TypeVar("Result")

SCHEME = "hf://"
FORM = "hf://datasets/ORG/NAME/PATH"
READ_ONLY = "the Hub is read only here; write to another place, then `gristmill publish` uploads it"
MOST_KNOWN = 100_000  # files of listings whose sizes are remembered
MOST_NAMES = 1_000  # listed to find the nearest
NEAREST = 3
_PLACE = re.compile(
    r"hf://datasets/(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/convert/[\w.-]+|refs/pr/\d+|[^/]+))?(?:/(?P<path>.*))?",
    re.S,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_known: dict[str, int] = {}


@dataclass(frozen=True)
class Place:
    """What an hf:// URI names."""

    uri: str
    """As it was given, for messages."""
    repository: str
    """ORG/NAME"""
    revision: str | None
    """A branch, a tag, a reference or a commit; None: main."""
    path: str
    """Below the repository's root: a file, a folder ('' for the root) or a pattern."""


@dataclass(frozen=True)
class HubFile:
    uri: str
    """By its commit: it reads the same bytes for ever."""
    path: str
    """Below the repository's root."""
    size: int
    tag: str
    """A hash of the content: SHA-256 of an LFS or Xet file, git's object id of another."""


def is_hub(uri: str) -> bool:
    return uri.startswith(SCHEME)


def place_of(uri: str) -> Place:
    """ValueError in one sentence where the URI is not of the form `FORM`."""
    found = _PLACE.fullmatch(uri)
    if found is None:
        raise ValueError(f"{uri}: write {FORM}, with @REVISION behind NAME for another revision than main")
    revision = found["revision"]
    path = posixpath.normpath(found["path"] or "")
    return Place(uri, found["repository"], revision and revision.replace("%2F", "/"), "" if path == "." else path)


def commit_of(uri: str) -> str | None:
    """The commit that the URI names; None where it names a branch or nothing."""
    revision = place_of(uri).revision
    return revision if revision and _COMMIT.fullmatch(revision) else None


def pinned(place: Place) -> Place:
    """The same place by commit, and by the repository's present name. ValueError where there is none."""
    info = _asked(lambda: _api().dataset_info(place.repository, revision=place.revision, timeout=QUIET_S), place)
    return replace(place, repository=str(info.id or place.repository), revision=str(info.sha))


def entry_at(place: Place) -> HubFile | None:
    """The file that the place of a commit names; None where it is a folder. ValueError where it is neither."""
    if not place.path:
        return None
    found = _asked(
        lambda: _api().get_paths_info(
            place.repository, [place.path], repo_type="dataset", revision=place.revision or "main"
        ),
        place,
    )
    here = [entry for entry in found if entry.path == place.path]
    if not here:
        raise _missing(place)
    return _file(place, here[0]) if _is_file(here[0]) else None


def files(place: Place, folder: str, deep: bool) -> Iterator[HubFile]:
    """The files below a folder of a commit; `deep`: those in folders of it too. ValueError where there is none such."""
    listed = _asked(
        lambda: [
            entry
            for entry in _api().list_repo_tree(
                place.repository, folder or None, recursive=deep, revision=place.revision, repo_type="dataset"
            )
            if _is_file(entry)
        ],
        replace(place, path=folder),
        attempts=1,  # the library's own are six
    )
    for entry in listed:
        yield _file(place, entry)


def opened(uri: str) -> RangedFile:
    """FileNotFoundError where the file does not exist, StorageError where the Hub refuses or fails ten times."""
    _required()
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    place = place_of(uri)
    url = hf_hub_url(
        place.repository, place.path, repo_type="dataset", revision=place.revision, endpoint=_endpoint() or None
    )
    size, location = _known.get(uri), None
    if size is None:
        try:
            said = _asked(lambda: get_hf_file_metadata(url, timeout=QUIET_S, endpoint=_endpoint() or None), place)
        except ValueError as error:  # of a listed file: it is gone since
            raise FileNotFoundError(str(error)) from error
        if said.size is None:
            raise Refused(f"{uri}: the Hub does not say its size; run again, or download the file and name the copy")
        size, location = said.size, said.location if said.location != url else None
    return ranged_file(
        url,
        uri,
        size,
        headers=build_hf_headers(library_name="gristmill"),
        redirected=location,
        refusal=lambda error: _refused(error, place),
    )


def _required() -> None:
    require("huggingface_hub", "hf://")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/")


def _api() -> HfApi:
    _required()
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint() or None, library_name="gristmill")


def _is_file(entry: Any) -> bool:
    return hasattr(entry, "blob_id")


def _file(place: Place, entry: Any) -> HubFile:
    uri = f"{SCHEME}datasets/{place.repository}@{place.revision}/{entry.path}"
    if len(_known) < MOST_KNOWN:
        _known[uri] = int(entry.size)
    return HubFile(uri, entry.path, int(entry.size), entry.lfs.sha256 if entry.lfs else entry.blob_id)


def _asked(call: Callable[[], Result], place: Place, attempts: int | None = None) -> Result:
    """The library's answer; what it says of failures, in a sentence."""
    most = attempts or ATTEMPTS
    for attempt in range(most):
        try:
            return call()
        except Exception as error:
            meaning = _meaning(error, place)
            if meaning is not None:
                raise meaning from error
            reason, asked_for = _reason(error), stated_wait(getattr(_response(error), "headers", {}))
        if attempt < most - 1:
            time.sleep(max(FIRST_WAIT_S * 2**attempt, asked_for))
    raise StorageError(f"{place.uri}: the Hub failed again and again ({reason}); run again later, what is done is kept")


def _response(error: Exception) -> Any:
    return getattr(error, "response", None)


def _reason(error: Exception) -> str:
    status = getattr(_response(error), "status_code", None)
    return f"HTTP status {status}" if status else " ".join(str(error).split()) or type(error).__name__


def _meaning(error: Exception, place: Place) -> Exception | None:
    """None where the same request may be answered later; other errors than those of the Hub as they are."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return Refused(f"{place.uri}: HF_HUB_OFFLINE is set; unset it to read from the Hub")
    if isinstance(error, errors.HFValidationError):
        return ValueError(f"{place.uri}: {place.repository} is no name of a dataset ({error}); write {FORM}")
    response = _response(error)
    if response is not None:
        return _status_meaning(int(response.status_code), response.headers, place)
    transport = type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2")
    return None if transport or isinstance(error, OSError) else error


def _refused(error: urllib.error.HTTPError, place: Place) -> OSError | None:
    meaning = _status_meaning(error.code, error.headers, place)
    return meaning if meaning is None or isinstance(meaning, OSError) else FileNotFoundError(str(meaning))


def _status_meaning(status: int, headers: Mapping[str, str] | Any, place: Place) -> Exception | None:
    """By the status and by `X-Error-Code`, as the library tells them apart."""
    code = headers.get("X-Error-Code") or ""
    login = "log in with `hf auth login`, or set HF_TOKEN"
    if code == "GatedRepo":
        return Refused(
            f"{place.uri}: this dataset is gated; accept its conditions at {_page(place.repository)}, then {login}"
        )
    if headers.get("X-Error-Message") == "Access to this resource is disabled.":
        return Refused(f"{place.uri}: the Hub has disabled this dataset; leave the source out")
    if code == "RevisionNotFound":
        return ValueError(f"{place.uri}: no revision {place.revision!r}{_there_is(place.revision, _revisions(place))}")
    if code == "EntryNotFound":
        return _missing(place)
    if code == "RepoNotFound":
        near = _there_is(place.repository, _repositories(place))
        return ValueError(
            f"{place.uri}: no dataset {place.repository} that may be seen{near}; if it is private, {login}"
        )
    if status in (404, 410):
        return ValueError(f"{place.uri}: does not exist (HTTP status {status}); check the source's uri")
    if status == 401:
        return Refused(f"{place.uri}: the Hub refuses the token; {login} again, or unset it for a public dataset")
    if status == 403:
        return Refused(f"{place.uri}: access is denied; give the token the right to read this dataset, or {login}")
    if status >= 500 or status in (408, 425, 429):
        return None
    return Refused(f"{place.uri}: refused (HTTP status {status}); check the source's uri")


def _page(repository: str) -> str:
    return f"{_endpoint() or 'https://huggingface.co'}/datasets/{repository}"


def _missing(place: Place) -> ValueError:
    folder, name = posixpath.split(place.path)
    where = f" in {folder}/" if folder else ""
    near = _there_is(name, _names(place, folder))
    return ValueError(f"{place.uri}: no file or folder {name!r}{where}{near}; check the source's uri")


def _there_is(name: str | None, names: list[str]) -> str:
    near = difflib.get_close_matches(name or "", names, NEAREST, 0.5) or sorted(names)[:NEAREST]
    return f"; there is {', '.join(near)}" if near else ""


def _names(place: Place, folder: str) -> list[str]:
    def some() -> Iterator[Any]:
        entries = _api().list_repo_tree(place.repository, folder or None, revision=place.revision, repo_type="dataset")
        return iter(entries)

    return [posixpath.basename(entry.path) for entry in _some(some)]


def _revisions(place: Place) -> list[str]:
    def some() -> Iterator[Any]:
        refs = _api().list_repo_refs(place.repository, repo_type="dataset")
        return iter([*refs.branches, *refs.tags])

    return [entry.name for entry in _some(some)]


def _repositories(place: Place) -> list[str]:
    owner = place.repository.partition("/")[0]
    return [entry.id for entry in _some(lambda: iter(_api().list_datasets(author=owner, limit=MOST_NAMES)))]


def _some(listing: Callable[[], Iterator[Any]]) -> list[Any]:
    """Up to `MOST_NAMES` of what the Hub lists; nothing where it fails: a message is better without than not at all."""
    found = []
    try:
        for entry in listing():
            found.append(entry)
            if len(found) == MOST_NAMES:
                break
    except Exception:
        return []
    return found
