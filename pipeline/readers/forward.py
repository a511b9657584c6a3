"""Blocks of bytes as a stream that is read forwards and can take back what was read ahead.

The end of the data and damage to it look the same to who reads: fewer bytes than asked for. `damage` says which it was.
Nothing here holds more than the caller asks for and one block.
"""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.pipeline.readers.stream import BrokenStreamError

WHITESPACE = b" \t\r\n\0\f\v"
LINE_WINDOW = 4096


class Forward:
    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        """Of `_held`, this many bytes are handed out."""
        self.position = 0
        """Bytes handed out in all."""
        self.damage: BrokenStreamError | None = None

    def _more(self) -> bool:
        """Whether there is a byte to hand out, with the next block fetched if need be."""
        while self._at >= len(self._held):
            if self.damage is not None:
                return False
            try:
                self._held, self._at = next(self._source), 0
            except StopIteration:
                return False
            except BrokenStreamError as error:
                self.damage = error
                return False
        return True

    def _take(self, size: int) -> bytes:
        part = self._held[self._at : self._at + size]
        self._at += len(part)
        self.position += len(part)
        return part

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes unless the stream ends."""
        parts = []
        while size > 0 and self._more():
            parts.append(self._take(size))
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, limit: int) -> bytes:
        """Up to and with the next line feed, or `limit` bytes, or the end."""
        line = b""
        while limit > 0 and self._more():
            window = min(limit, LINE_WINDOW)
            end = self._held.find(b"\n", self._at, self._at + window) + 1
            part = self._take(end - self._at if end else window)
            line += part
            limit -= len(part)
            if end:
                break
        return line

    def skip(self, size: int) -> int:
        """Passes over `size` bytes; how many there were."""
        left = size
        while left > 0 and self._more():
            left -= len(self._take(left))
        return size - left

    def skip_whitespace(self) -> None:
        while self._more():
            rest = self._held[self._at : self._at + LINE_WINDOW].lstrip(WHITESPACE)
            self._take(min(LINE_WINDOW, len(self._held) - self._at) - len(rest))
            if rest:
                return

    def skip_to(self, mark: bytes) -> bool:
        """Passes over everything before the next `mark`, or to the end; whether there is one."""
        tail = b""
        while self._more():
            block = tail + self._held[self._at :]
            found = block.find(mark)
            if found >= 0:
                self._take(len(self._held))
                self.put_back(block[found:])
                return True
            self._take(len(self._held))
            tail = block[max(0, len(block) - len(mark) + 1) :]
        return False

    def put_back(self, data: bytes) -> None:
        """Hands out `data` again, the last bytes that were handed out."""
        self._held = data + self._held[self._at :]
        self._at = 0
        self.position -= len(data)

    def drain(self) -> int:
        """Reads to the end; how many bytes there were."""
        return self.skip(1 << 62)
