"""Stack Exchange dumps (`Posts.xml`): a question with its answers is a document.

    Q: title, body      A: the answer with the highest score, then the others; an empty line between

Answers stand anywhere behind their question, so the posts are sorted by question first (`spill`): the file is read to
its end before the first document, with bounded memory and a temporary copy on this computer's disk. `record` is the
offset of the question's row in the uncompressed file; `own_id` is the question's URL where the name of the folder or
the file tells the site. The licence is the posts' own (`ContentLicense`), else by date: CC BY-SA 2.5 up to 7 April
2011, 3.0 up to 1 May 2018, 4.0 since. Other files of a dump, answers without a question, and wiki and
moderators' posts are counted. Files of .gz, .bz2, .zst and .xz are read as they are; .7z, as the dumps come, is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby

from gristmill.pipeline.readers.markup.fragment import FragmentError, fragment_text
from gristmill.pipeline.readers.markup.xml_tree import XmlError, parse_xml
from gristmill.pipeline.readers.rows import Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec, stored_name
from gristmill.pipeline.readers.spill import Spill
from gristmill.pipeline.readers.stream import blocks
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.pipeline.readers.xml_records import Piece, Shape, encoding_of, pieces

ROWS = Shape(
    re.compile(rb"<row(?=[\s/>])"),
    None,
    re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\Z|</(?:row|posts)|<posts\b|<\?xml\b|<!--)"),
)
OTHER_FILES = ("badges", "comments", "posthistory", "postlinks", "tags", "users", "votes")
QUESTION, ANSWER = "1", "2"
SITE = re.compile(
    r"(?:[a-z0-9-]+\.)*(?:stackexchange|stackoverflow|serverfault|superuser|askubuntu|mathoverflow|stackapps)\.(?:com|net)"
)
LICENSES = ((datetime(2018, 5, 2, tzinfo=UTC), "CC-BY-SA-4.0"), (datetime(2011, 4, 8, tzinfo=UTC), "CC-BY-SA-3.0"))
"""From when on (stackoverflow.com/help/licensing)."""
OLDEST_LICENSE = "CC-BY-SA-2.5"

_TAG = re.compile(r"[^<>|]+")
_ID = re.compile(r"\d{1,18}", re.ASCII)

Post = dict[str, str]
"""Attributes of a row, and `offset`, where it begins, in decimal."""


def read_stackexchange(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    if stored_name(segment.path).lower().removesuffix(".xml") in OTHER_FILES:
        skipped["stackexchange.other_table"] += 1
        return
    spill = Spill()
    encoding = None
    for piece in pieces(blocks(segment), ROWS, 2 * max_document_bytes + (1 << 20)):
        if piece.kind == "head":
            encoding = encoding_of(piece.data)
            continue
        reason = piece.reason if piece.kind == "broken" else _keep(piece, encoding, spill, skipped)
        if reason:
            yield quarantined(segment.path, piece.offset, reason, piece.size, piece.data)
    site = _site(segment.path)
    for _, group in groupby(spill.sorted(), key=lambda record: record[0][0]):
        row = _thread((json.loads(data) for _, data in group), segment.path, site, spec, max_document_bytes, skipped)
        if row is not None:
            yield row


def _keep(piece: Piece, encoding: str | None, spill: Spill, skipped: Skipped) -> str | None:
    """Keeps the post under (question, 0 for it and 1 for its answers, score downwards, offset); or says why not."""
    post = _post(piece, encoding)
    if isinstance(post, str):
        return post
    kind = post.get("PostTypeId")
    question = post.get("Id" if kind == QUESTION else "ParentId", "")
    if kind not in (QUESTION, ANSWER):
        skipped["stackexchange.other_post"] += 1
    elif not _ID.fullmatch(question) or not _ID.fullmatch(post.get("Id", "")):
        return "stackexchange.no_id"
    else:
        post["offset"] = str(piece.offset)
        rank = (0, 0) if kind == QUESTION else (1, -_number(post.get("Score")))
        spill.add((int(question), *rank, piece.offset), json.dumps(post).encode())
    return None


def _post(piece: Piece, encoding: str | None) -> Post | str:
    """The row's attributes, or why there are none."""
    data = piece.data.rstrip()
    try:
        return dict(parse_xml(data if data.endswith(b"/>") else data + b"</row>", encoding).attrib)
    except XmlError as error:
        return error.reason


def _number(text: str | None) -> int:
    try:
        return int(text or 0) if len(text or "") < 12 else 0
    except ValueError:
        return 0


def _site(path: str) -> str | None:
    """Of `math.stackexchange.com/Posts.xml`, `stackoverflow.com-Posts.xml`; None where the path tells none."""
    found = [match[0] for part in path.lower().split("/") if (match := SITE.search(part))]
    return found[-1] if found else None


def _thread(
    posts: Iterator[Post], path: str, site: str | None, spec: SourceSpec, max_document_bytes: int, skipped: Skipped
) -> Row | None:
    """A question and its answers as one row; None for answers alone."""
    question = next(posts)
    if question.get("PostTypeId") != QUESTION:
        skipped["stackexchange.no_question"] += 1 + sum(1 for _ in posts)
        return None
    offset = int(question["offset"])
    parts: list[str] = []
    taken: list[Post] = []
    size = 0
    for post in [question, *_bounded(posts, max_document_bytes)]:
        if post.get("PostTypeId") == QUESTION and post is not question:
            skipped["stackexchange.repeated_question"] += 1  # a file put together from overlapping ones
            continue
        try:
            body = fragment_text(post.get("Body", ""))
        except FragmentError as error:
            if post is question:
                return quarantined(path, offset, error.reason, len(post.get("Body", "")))
            skipped[f"stackexchange.answer_{error.reason.rpartition('.')[2]}"] += 1
            continue
        size += len(body)
        if size > max_document_bytes:
            return quarantined(path, offset, "read.too_large", size)
        if post is question:
            title = " ".join(post.get("Title", "").split())
            parts.append("Q: " + "\n\n".join(part for part in (title, body) if part))
        elif body:
            parts.append(f"A: {body}")
            taken.append(post)
    row = Row(path, offset, "\n\n".join(parts), title=question.get("Title"), category="forum", language=spec.language)
    _describe(row, question, taken, site, spec)
    return row


def _bounded(posts: Iterator[Post], max_document_bytes: int) -> Iterator[Post]:
    """Posts up to one beyond what a document may hold."""
    left = 4 * max_document_bytes
    for post in posts:
        left -= len(post.get("Body", ""))
        yield post
        if left < 0:
            return


def _describe(row: Row, question: Post, answers: list[Post], site: str | None, spec: SourceSpec) -> None:
    number = question["Id"]
    created = question.get("CreationDate")
    row.timestamp = parse_timestamp(created)
    if site:
        row.url = row.own_id = f"https://{site}/questions/{number}"
    row.license = " AND ".join(sorted({_license(post) for post in (question, *answers)}))
    accepted = question.get("AcceptedAnswerId")
    more: dict[str, str | int | list[int] | list[str] | None] = {
        "timestamp": created if row.timestamp is None else None,
        "post": int(number),
        "score": _number(question.get("Score")),
        "tags": _TAG.findall(question.get("Tags", "")) or None,
        "answers": [int(post["Id"]) for post in answers],
        "answer_scores": [_number(post.get("Score")) for post in answers],
        "accepted_answer": int(accepted) if accepted and _ID.fullmatch(accepted) else None,
    }
    row.metadata = metadata_json(spec.metadata, more)


def _license(post: Post) -> str:
    stated = post.get("ContentLicense")
    if stated:
        return "-".join(stated.split())[:40]  # "CC BY-SA 4.0"
    created = parse_timestamp(post.get("CreationDate"))
    for since, name in LICENSES:
        if created is not None and created >= since.timestamp() * 1_000_000:
            return name
    return OLDEST_LICENSE
