"""Files on web servers (http, https), read by ranges, with retries.

Every answer is held against the length that was asked for and the size of the file; one that is cut short, refused with
a 5xx or 429, or does not come is asked for again by the policy of `gristmill.storage.retrying`, later where the server
says when (`Retry-After`). Redirections are followed. A server that knows no ranges is read whole into a temporary
file; one that does not say a size cannot be read.
"""

from __future__ import annotations

import base64
import http.client
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, TypeVar
from urllib.parse import quote, unquote, urlsplit

from gristmill.storage.retrying import ATTEMPTS, FIRST_WAIT_S, QUIET_S, RangedFile, Refused, StorageError

Result = TypeVar("Result")
Refusal = Callable[[urllib.error.HTTPError], OSError | None]
"""What a refusal by this server means, in a sentence; None: what it means of any."""

MOST_WAIT_S = 300.0
"""Longest wait that a server may ask for: the window of the Hugging Face Hub's rate limits."""
NO_HEADERS: Mapping[str, str] = {}
_RATE_LIMIT = re.compile(r"r=0\b[^,]*?\bt=(\d+)")


@dataclass(frozen=True)
class WebInfo:
    size: int | None
    etag: str | None


class _Again(OSError):
    """The answer was not whole."""


def web_info(url: str, shown: str) -> WebInfo:
    """Size and entity tag, from HEAD, or from a GET where the server has no HEAD or it names no size.

    FileNotFoundError, or StorageError where ten attempts fail or the server refuses.
    """

    def ask(method: str) -> WebInfo:
        with _open(url, method) as answer:
            length = answer.headers.get("Content-Length")
            return WebInfo(int(length) if length else None, answer.headers.get("ETag"))

    def either() -> WebInfo:
        try:
            found = ask("HEAD")
        except urllib.error.HTTPError as error:
            if error.code not in (403, 405, 501):  # presigned addresses and simple servers know GET alone
                raise
            return ask("GET")
        return found if found.size is not None else ask("GET")

    return _retried(either, shown)


def web_file(url: str, shown: str) -> RangedFile:
    """StorageError where ten attempts fail, and where the file has changed since its size was asked for."""
    size = web_info(url, shown).size
    if size is None:
        raise Refused(f"{shown}: the server does not say its size; download the file and name the copy")
    return ranged_file(url, shown, size)


def ranged_file(
    url: str,
    shown: str,
    size: int,
    *,
    headers: Mapping[str, str] = NO_HEADERS,
    redirected: str | None = None,
    refusal: Refusal | None = None,
) -> RangedFile:
    """A file of known size.

    headers: for the host of `url` alone; they are not sent along a redirection. redirected: where `url` is known to
    lead; asked instead of it, until that is refused because its signature has expired, say.
    """
    copies: list[IO[bytes]] = []
    led = [redirected]

    def fetch(start: int, end: int) -> bytes:
        if not copies:
            place = led[0] or url
            try:
                answer = _open(place, "GET", f"bytes={start}-{end - 1}", NO_HEADERS if led[0] else headers)
            except urllib.error.HTTPError as error:
                if led[0] is None or error.code >= 500 or error.code in (408, 425, 429):
                    raise
                error.close()
                led[0] = None
                raise _Again(f"HTTP status {error.code}") from error
            with answer:
                ranged = answer.status == 206
                total = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
                total = total if ranged else answer.headers.get("Content-Length") or ""
                if total.isdigit() and int(total) != size:
                    raise StorageError(f"{shown}: changed while it was read; run again")
                if _host(answer.geturl()) != _host(url):  # to storage by a signed address: it serves the next range too
                    led[0] = answer.geturl()
                if ranged:
                    return _whole(answer.read(end - start), end - start)
                copies.append(_copied(answer, size))
        copies[0].seek(start)
        return copies[0].read(end - start)

    return RangedFile(
        size,
        lambda start, end: _retried(lambda: fetch(start, end), shown, refusal),
        lambda: [copy.close() for copy in copies],
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _copied(answer: http.client.HTTPResponse, size: int) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  closed with the file that reads it
    try:
        copied = 0
        while block := answer.read(1 << 20):
            copy.write(block)
            copied += len(block)
        if copied != size:
            raise _Again(f"{copied:,} of {size:,} bytes came")
    except BaseException:
        copy.close()
        raise
    return copy


def _whole(content: bytes, length: int) -> bytes:
    if len(content) != length:
        raise _Again(f"{len(content):,} of {length:,} bytes came")
    return content


def _open(
    url: str, method: str, span: str | None = None, private: Mapping[str, str] = NO_HEADERS
) -> http.client.HTTPResponse:
    """private: headers for this host alone."""
    parts = urlsplit(url)
    target = url
    headers = {"Accept-Encoding": "identity"} | ({"Range": span} if span else {})
    if "@" in parts.netloc:
        target = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(quote(target, safe="%/:=&?~#+!$,;'@()*[]"), headers=headers, method=method)
    if target != url:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    for name, value in private.items():
        request.add_unredirected_header(name, value)
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=QUIET_S)
    return answer


def _retried(call: Callable[[], Result], shown: str, refusal: Refusal | None = None) -> Result:
    for attempt in range(ATTEMPTS):
        asked_for = 0.0
        try:
            return call()
        except StorageError:
            raise
        except urllib.error.HTTPError as error:
            error.close()
            meaning = refusal(error) if refusal is not None else None
            if meaning is not None:
                raise meaning from error
            if error.code in (404, 410):
                raise FileNotFoundError(f"{shown}: does not exist (HTTP status {error.code})") from error
            if error.code in (401, 403):
                raise Refused(f"{shown}: access is denied (HTTP status {error.code}); check the URI") from error
            if error.code < 500 and error.code not in (408, 425, 429):
                raise Refused(f"{shown}: refused (HTTP status {error.code}); check the URI") from error
            reason = f"HTTP status {error.code}"
            asked_for = stated_wait(error.headers)
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        if attempt < ATTEMPTS - 1:
            time.sleep(max(FIRST_WAIT_S * 2**attempt, asked_for))
    raise StorageError(f"{shown}: failed {ATTEMPTS} times in a row ({reason}); check the server and run again")


def stated_wait(headers: Message | Mapping[str, str]) -> float:
    """Seconds that a server asks to wait, at most `MOST_WAIT_S`; 0 where it says nothing.

    `Retry-After` in seconds (RFC 9110, section 10.2.3), or the time to the reset of a limit that is used up
    (`RateLimit: "api";r=0;t=55`, draft-ietf-httpapi-ratelimit-headers).
    """
    after = (headers.get("Retry-After") or "").strip()
    reset = _RATE_LIMIT.search((headers.get("RateLimit") or "").replace(" ", ""))
    stated = after if after.isdigit() else reset[1] if reset else "0"
    return min(float(stated), MOST_WAIT_S)
