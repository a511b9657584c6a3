"""Uploads a finished output to a data set repository of the Hugging Face Hub: `curated/`, and `ledger/` on request.

    hf://datasets/ORG/NAME      the repository is made where there is none, private unless told otherwise

Only an output that `verify` passes and whose run left out no task is uploaded. The library sends what the Hub does not
have yet, so the same command goes on after a failure. Files that an earlier upload left in these folders and that are
no longer in the output are deleted. The card comes last: `README.md` as it lies in the output where somebody has edited
it, else one written anew. The token is the library's own business (`hf auth login`, HF_TOKEN), and so is the endpoint.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gristmill.extras import require
from gristmill.pipeline.steps.record import RunRecord, parsed
from gristmill.pipeline.upkeep.verify import verify
from gristmill.pipeline.views import card
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TARGET = re.compile(r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)/?")
FORM = "hf://datasets/ORG/NAME"
AGAIN = "run the same command again, it goes on from there"
TRANSPORTS = ("httpx", "httpx2", "httpcore", "httpcore2")
"""Packages whose exceptions say that the Hub was not reached; huggingface-hub's version decides which it uses."""


@dataclass(frozen=True)
class Published:
    repository: str
    url: str
    files: int
    bytes: int
    """Of the output's files that the repository has now, the card aside."""
    edited: bool
    """Whether the card is the output's own `README.md`, which somebody has changed."""

    def to_dict(self) -> dict[str, Json]:
        return asdict(self)


def publish(output: str, target: str, *, ledger: bool = False, private: bool = True) -> Published:
    """ValueError, in one sentence, where the output is not whole, the target no data set, or the Hub refuses."""
    matched = TARGET.fullmatch(target)
    if matched is None:
        raise ValueError(f"{target}: is no data set of the Hub; write {FORM}")
    require("huggingface_hub", "gristmill publish:")
    if "://" in output and not output.startswith("file://"):
        raise ValueError(f"{redacted(output)}: is not on this machine's disk; copy it there, the upload reads files")
    store = Store(output)
    record = whole_run(store, output)
    folders = ["curated", *(["ledger"] if ledger else [])]
    sizes = [store.size(path) for folder in folders for path in store.files(folder)]
    if not store.files("curated"):
        raise ValueError(f"{store.location()}: holds no curated documents, so there is nothing to publish")
    text, edited = card_text(record, store, ledger)
    url = upload(matched["name"], store, folders, text, private)
    return Published(matched["name"], url, len(sizes), sum(sizes), edited)


def whole_run(store: Store, output: str) -> RunRecord:
    """The record of a run that left out nothing and whose files are what it wrote."""
    problems = verify(output)
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}: an output that gristmill verify does not pass is not published")
    record = parsed(store.read("run.json"))
    missing = {step["name"]: step["missing"] for step in record["steps"] if step["missing"]}
    for name, tasks in missing.items():
        raise ValueError(
            f"{store.location()}: the run left out {len(tasks)} of the tasks of {name}, the first is {tasks[0]}; run "
            "again without --allow-missing before you publish"
        )
    return record


def card_text(record: RunRecord, store: Store, ledger: bool) -> tuple[str, bool]:
    """The card to upload, and whether it is the output's own, edited by somebody."""
    if store.exists(card.PATH):
        there = store.read(card.PATH)
        if there != card.card(record, store).encode(errors="replace"):
            return there.decode(errors="replace"), True
    return card.card(record, store, ledger), False


def upload(name: str, store: Store, folders: list[str], text: str, private: bool) -> str:
    """The URL of the repository with the files and the card in it."""
    from huggingface_hub import HfApi

    api = HfApi(library_name="gristmill")
    try:
        return _upload(api, name, store, folders, text, private)
    except Exception as error:
        said = _sentence(error, name, api.endpoint)
        if said is None:
            raise
        raise said from error


def _upload(api: HfApi, name: str, store: Store, folders: list[str], text: str, private: bool) -> str:
    url = str(api.create_repo(name, repo_type="dataset", private=private, exist_ok=True))
    for folder in folders:
        api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=store.path(folder),
            path_in_repo=folder,
            delete_patterns="**",
            commit_message=f"{folder}/ as gristmill wrote it",
        )
    api.upload_file(
        path_or_fileobj=text.encode(),
        path_in_repo=card.PATH,
        repo_id=name,
        repo_type="dataset",
        commit_message="Data set card",
    )
    return url


def _sentence(error: Exception, name: str, endpoint: str) -> Exception | None:
    """What the user is told of a failure of the Hub or of the way to it; None: it is another one.

    The library says in errors of its own which file failed; what happened to it is their cause.
    """
    from huggingface_hub.errors import HfHubHTTPError

    found: BaseException | None = error
    while found is not None:
        if isinstance(found, HfHubHTTPError):
            status = found.response.status_code if found.response is not None else None
            said = str(found.server_message or found).strip().splitlines()[0]
            if status in (401, 403):
                return ValueError(
                    f"{name}: the Hub does not let this token write there ({said}); log in with `hf auth login`, or "
                    "set HF_TOKEN to a token with the right to write"
                )
            return OSError(f"{name}: the Hub answers {status} ({said}); {AGAIN}")
        if type(found).__module__.partition(".")[0] in TRANSPORTS:
            return OSError(f"{name}: {endpoint} cannot be reached ({found}); {AGAIN}")
        found = found.__cause__
    return None
