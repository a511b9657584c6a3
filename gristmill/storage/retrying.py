"""Failures of remote storages: tried again, told from damaged content, and said in one sentence.

Object stores retry within pyarrow's client, http(s) here; both by one policy: a request is
tried about ten times, with waits of 0.05, 0.1, 0.2 ... s, 26 s in all. An answer counts as lost when no byte came for
30 s, so a storage that accepts connections and never answers holds a request for at most 11 x 30 + 26 s, six minutes;
one that refuses connections for 26 s. What is still wrong then is an OSError, and the engine tries the task again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gristmill.storage.positioned import Positioned

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs

ATTEMPTS = 10
FIRST_WAIT_S = 0.05
QUIET_S = 30.0
CONNECT_S = 10.0
READS = 4
BLOCK_BYTES = 8 << 20
"""Read ahead: at 30 ms a request, 64 KB at a time would be 2 MB/s."""


class StorageError(OSError):
    """The storage failed, in a sentence for the user; nothing is known about the content."""


class Refused(StorageError):
    """The storage does not want to; trying again at once would not help."""

    final = True


# what pyarrow says -> what that means, what to do
REFUSALS = {
    r"NO_SUCH_BUCKET|NoSuchBucket": ("the bucket does not exist", "create it, or correct the URI"),
    r"Expired|INVALID_TOKEN|INVALID_CLIENT_TOKEN|UNAUTHENTICATED": (
        "the credentials have expired or are not known there",
        "renew them and run again",
    ),
    r"TIME_TOO_SKEWED": ("the storage does not accept this machine's time", "set its clock"),
    r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|HTTP status 40[13]|PERMISSION_DENIED": (
        "access is denied",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or key:secret@ in the URI, and what the bucket allows them",
    ),
    r"HTTP status 400\) during Head": (
        "the request is refused, as with expired credentials or a wrong region",
        "renew the credentials, and check region= in the URI",
    ),
    r"HTTP status 301|PermanentRedirect": ("the bucket is in another region", "add region= to the URI"),
    r"curlCode: (35|60|77)\b": (
        "no TLS connection can be made",
        "add scheme=http to the URI if the endpoint speaks plain http, tls_ca_file_path= if its certificate is yours",
    ),
}
FAILURES = {
    r"NETWORK_CONNECTION|REQUEST_TIMEOUT|UNAVAILABLE|DEADLINE_EXCEEDED": (
        "the endpoint does not answer",
        "check scheme and endpoint_override in the URI and the network, then run again, what is done is kept",
    ),
    r"HTTP status 5|SLOW_DOWN|SlowDown|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|THROTTLING|RESOURCE_EXHAUSTED": (
        "the storage is overloaded or broken",
        "run again later or with fewer --workers, what is done is kept",
    ),
}
REMOTE = re.compile(r"AWS Error|google::cloud::Status|Azure|HDFS")
OBJECT = re.compile(r"key '(?P<key>.*?)' in bucket '(?P<bucket>.*?)'")


def explained(error: OSError, shown: str = "") -> OSError:
    """The same failure as one sentence; any other error unchanged.

    `shown`: the URI without credentials, for where the message names no object.
    """
    text = " ".join(str(error).split())
    if isinstance(error, StorageError | FileNotFoundError) or not REMOTE.search(text):
        return error
    named = OBJECT.search(text)
    place = f"s3://{named['bucket']}/{named['key']}" if named else shown or "the storage"
    cause = re.sub(r".*?AWS Error (UNKNOWN )?", "", text).removesuffix(": No response body.").rstrip(".")
    for kind, table in ((Refused, REFUSALS), (StorageError, FAILURES)):
        for pattern, (meaning, remedy) in table.items():
            if re.search(pattern, text):
                return kind(f"{place}: {meaning} ({cause}); {remedy}")
    return StorageError(f"{place}: the storage failed ({cause}); run again, what is done is kept")


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error raised while content was read says something of the storage, not of the content.

    Parquet and compression libraries raise OSError for damaged content too, but without an error number.
    """
    if isinstance(error, StorageError | TimeoutError | ConnectionError):
        return True
    return isinstance(error, OSError) and (error.errno is not None or REMOTE.search(str(error)) is not None)


@contextmanager
def explaining(shown: str) -> Iterator[None]:
    """Errors of a remote storage leave the block as `explained` says them."""
    try:
        yield
    except OSError as error:
        sentence = explained(error, shown)
        if sentence is error:
            raise
        raise sentence from error


class Explaining:
    """A pyarrow file system whose own errors are sentences. Streams opened on it raise what pyarrow raises."""

    def __init__(self, filesystem: pafs.FileSystem, shown: str) -> None:
        self._filesystem = filesystem
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._filesystem, name)
        return explaining(self._shown)(value) if callable(value) else value


class RangedFile(Positioned):
    """A remote file of known size for reading at any position, through `fetch(start, end) -> bytes`.

    A read that begins where the last one ended fetches `BLOCK_BYTES` ahead, any other what it asks for: readers that
    take 64 KB at a time make one request in 8 MB, and who looks at the two ends of a file gets no more than these.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes], release: Callable[[], object]) -> None:
        super().__init__(size)
        self.fetch, self.release = fetch, release
        self.start, self.block = -1, b""

    def read(self, size: int | None = -1) -> bytes:
        end = self.size if size is None or size < 0 else min(self.position + size, self.size)
        if end <= self.position:
            return b""
        known = self.start + len(self.block)
        parts = []
        if self.start <= self.position < known:
            parts.append(self.block[self.position - self.start : end - self.start])
            self.position += len(parts[0])
        if self.position < end:
            ahead = BLOCK_BYTES if self.position == known else 0
            self.block = self.fetch(self.position, min(max(end, self.position + ahead), self.size))
            self.start = self.position
            parts.append(self.block[: end - self.position])
            self.position = end
        return b"".join(parts)

    def close(self) -> None:
        if not self.closed:
            self.release()
        super().close()


def stored_file(handle: pa.NativeFile, shown: str) -> RangedFile:
    """An open pyarrow file of a remote storage; what fails is a StorageError, a short answer too."""

    def once(start: int, end: int) -> bytes:
        with explaining(shown):
            content: bytes = handle.read_at(end - start, start)
        if len(content) != end - start:
            raise StorageError(f"{shown}: {len(content):,} of {end - start:,} bytes came; run again")
        return content

    def fetch(start: int, end: int) -> bytes:
        for _ in range(READS - 1):
            try:
                return once(start, end)
            except Refused:
                raise
            except StorageError:  # broken off in mid-answer, which the store's client does not try again
                continue
        return once(start, end)

    return RangedFile(handle.size(), fetch, handle.close)
