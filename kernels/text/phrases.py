"""Boilerplate phrases and sentence ends, found in bytes.

A phrase is ASCII and matches any case of its letters. So that a scan need not try every phrase at every byte, each is
filed under its rarest byte, its *anchor*, and the byte after it; only there is it compared. `POLICY` of them are the
policy notices of C4 (Raffel et al. 2020, section 2.2), `NOTICES` with those of NeMo Curator's BoilerPlateStringFilter,
of which the notices of several sentences stand as the part that tells them.

It does not know lines or paragraphs: the scan does.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text.uncounted import inlined, uncounted

PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
    "privacy overview",
    "privacy & cookies policy",
    "privacy and cookies policy",
    "necessary cookies are absolutely essential for the website to function",
    "cookies that may not be particularly necessary for the website to function",
    "continue to browse this site without changing your cookie settings",
    "lorem ipsum",
    "javascript",
)
POLICY, NOTICES = 6, 12
"""The first 6 phrases are C4's, the first 12 mark boilerplate."""
LOREM_IPSUM, JAVASCRIPT = 12, 13

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

ANCHORS = np.array(sorted({ord(phrase[at]) for phrase, at in zip(PHRASES, _ANCHORS, strict=True)}), np.uint8)
"""(4,) lower-case letters at which, in either case, `phrase_at` can find something."""

_PAIRS = np.zeros((128, 128), np.bool_)  # lower-case anchor and the byte after it
for _phrase, _at in zip(PHRASES, _ANCHORS, strict=True):
    _PAIRS[ord(_phrase[_at]), ord(_phrase[_at + 1])] = True


@inlined
def _lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@uncounted
def phrase_at(data, at, begin, end):
    """Index in `PHRASES` of the first phrase whose anchor is byte `at` and which lies in begin .. end, or -1."""
    byte = _lower(data[at])
    if at + 1 >= end or not _PAIRS[byte & 127, _lower(data[at + 1]) & 127]:
        return -1
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


@uncounted
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
