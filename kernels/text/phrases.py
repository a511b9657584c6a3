"""Boilerplate phrases and sentence ends, found in bytes.

A phrase is ASCII and matches any case of its letters. So that a scan need not try every phrase at every byte, each is
filed under its rarest byte, its *anchor*; only there is it compared. `PHRASES` are the policy notices of C4
(Raffel et al. 2020, section 2.2) as NeMo Curator's BoilerPlateStringFilter extends them, the notices of several
sentences by the part that tells them; the last is `LOREM_IPSUM`, which condemns a whole document.

It does not know lines or paragraphs: the scan does.
"""

from __future__ import annotations

import numba
import numpy as np

PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "privacy overview",
    "use of cookies",
    "use cookies",
    "privacy & cookies policy",
    "privacy and cookies policy",
    "necessary cookies are absolutely essential for the website to function",
    "cookies that may not be particularly necessary for the website to function",
    "continue to browse this site without changing your cookie settings",
    "lorem ipsum",
)
LOREM_IPSUM = len(PHRASES) - 1

ELLIPSES = ("...", "[...]", "…", "(...)", "[…]", "-»")
"""Words that are an ellipsis. NeMo Curator, `ellipsis_marks`, those without a space."""

ELLIPSIS_ENDS = ("...", "…", "[...]", "(...)", "[…]", "-»", "read more", "read more..")
"""Ends of a line that breaks off, in any case of ASCII letters. NeMo Curator, EllipsisFilter."""

_RARE_FIRST = b"vkfp"  # letters that are rare in English; every phrase has one


def _pack(phrases: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [phrase.encode() for phrase in phrases]
    return (
        np.frombuffer(b"".join(encoded), np.uint8),
        np.cumsum([0, *map(len, encoded)]).astype(np.int64),
    )


def _anchor(phrase: str) -> int:
    return next(phrase.encode().index(byte) for byte in _RARE_FIRST if byte in phrase.encode())


_DATA, _OFFSETS = _pack(PHRASES)
_ANCHORS = np.array([_anchor(phrase) for phrase in PHRASES], np.int64)
_END_DATA, _END_OFFSETS = _pack(ELLIPSIS_ENDS)

_anchor_bytes = np.zeros(256, np.bool_)
for _phrase, _at in zip(PHRASES, _ANCHORS, strict=True):
    _anchor_bytes[[ord(_phrase[_at]), ord(_phrase[_at].upper())]] = True
IS_ANCHOR = _anchor_bytes
"""(256,) bool: bytes at which `phrase_at` can find something."""


@numba.njit(inline="always")
def _lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(cache=True)
def phrase_at(data, at, begin, end):
    """Index in `PHRASES` of the first phrase whose anchor is byte `at` and which lies in begin .. end, or -1."""
    byte = _lower(data[at])
    for p in range(len(_ANCHORS)):
        first = _OFFSETS[p]
        size = _OFFSETS[p + 1] - first
        if _DATA[first + _ANCHORS[p]] != byte:
            continue
        start = at - _ANCHORS[p]
        if start < begin or start + size > end:
            continue
        k = 0
        while k < size and _lower(data[start + k]) == _DATA[first + k]:
            k += 1
        if k == size:
            return p
    return -1


@numba.njit(cache=True)
def ends_with_ellipsis(data, begin, end):
    """Whether bytes begin .. end, trailing white space excluded, end with one of `ELLIPSIS_ENDS`."""
    for p in range(len(_END_OFFSETS) - 1):
        first = _END_OFFSETS[p]
        size = _END_OFFSETS[p + 1] - first
        if size > end - begin:
            continue
        k = size
        while k > 0 and _lower(data[end - size + k - 1]) == _END_DATA[first + k - 1]:
            k -= 1
        if k == 0:
            return True
    return False
