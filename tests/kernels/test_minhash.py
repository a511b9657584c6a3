"""MinHash: shingles as defined, an unbiased estimate as good as datasketch's, candidates at the rate of the formula."""

from __future__ import annotations

import io
import json
import math
import random
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.minhash import band_hashes, family, signatures
from gristmill.kernels.text.shingle import BLOCK, shingle_hashes, shingling
from gristmill.kernels.text.utf8 import UNSPACED_BLOCKS

DELICATE = st.sampled_from("ab. \n\t5٣éÉİß\u0301\u00ad漢字\u3000กัHh한")
ANY_TEXT = st.text() | st.text(DELICATE) | st.text("ab ", max_size=300)


def characters(text: str, size: int) -> list[tuple]:
    folded = " ".join("".join(c.lower()[0] for c in text).split())
    return [tuple(folded[i : i + size]) for i in range(len(folded) - size + 1)]


def words(text: str, size: int) -> list[tuple]:
    out: list[str] = [""]
    for char in text:
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Cf"):
            continue
        if category[0] in "PSZ" or category == "Cc":
            out.append("")
            continue
        base = unicodedata.normalize("NFD", char.lower())
        base = "".join(c for c in base if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
        letter = "0" if category == "Nd" else base if len(base) == 1 else char.lower()[0]
        if any(first <= ord(char) <= last for first, last in UNSPACED_BLOCKS):
            out += [letter + "alone", ""]
        else:
            out[-1] += letter
    kept = [word for word in out if word]
    return [tuple(kept[i : i + size]) for i in range(len(kept) - size + 1)]


@pytest.mark.parametrize(("unit", "definition"), [("characters", characters), ("words", words)])
@settings(deadline=None)
@given(texts=st.lists(ANY_TEXT, max_size=4), size=st.integers(1, 6))
@example(texts=["x" * 5000, "a b " * BLOCK, "漢" * 3000, "a\u0301 " * BLOCK, " x " * (BLOCK - 3)], size=3)
def test_shingles_are_their_definition(unit, definition, texts, size):
    got = shingle_hashes(pa.array(texts, pa.large_string()), shingling(unit, size))
    expected = [definition(text, size) for text in texts]
    assert [len(hashes) for hashes in got] == [len(shingles) for shingles in expected]
    pairs = {(s, h) for shingles, hashes in zip(expected, got) for s, h in zip(shingles, hashes.tolist())}
    assert len(pairs) == len({s for s, _ in pairs}) == len({h for _, h in pairs})  # one to one


@pytest.mark.slow
def test_every_assigned_character_is_folded_as_defined():
    every = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")]
    texts = [f"a{c}b" for c in every]
    for unit, definition in (("characters", characters), ("words", words)):
        got = shingle_hashes(pa.array(texts, pa.large_string()), shingling(unit, 1))  # type: ignore[arg-type]
        expected = [definition(text, 1) for text in texts]
        assert [len(h) for h in got] == [len(s) for s in expected]
        pairs = {(s, h) for shingles, hashes in zip(expected, got) for s, h in zip(shingles, hashes.tolist())}
        assert len(pairs) == len({s for s, _ in pairs})
        assert len(pairs) - len({h for _, h in pairs}) <= 20  # 2^32 values for 10^5 characters: 2 or 3 meet by chance


def test_a_signature_is_the_minimum_over_the_functions():
    texts = pa.array(["", "grist " * 3, "the quick brown fox jumps over the lazy dog " * 40], pa.large_string())
    shingles, functions = shingling("words", 3), family(20, 7)
    got, has = signatures(texts, shingles, functions)
    assert has.tolist() == [False, True, True]
    assert (got[0] == 0xFFFFFFFF).all()
    for row, hashes in zip(got[1:], shingle_hashes(texts, shingles)[1:]):
        a, b, h = (x.astype(np.uint64) for x in (functions.multipliers, functions.increments, hashes))
        assert (row == ((a[:, None] * h + b[:, None]) & np.uint64(0xFFFFFFFF)).min(1)).all()


def planted(jaccard: float, size: int, generator: random.Random) -> tuple[list[str], list[str], float]:
    """Two lists of words and the exact Jaccard similarity of their sets: shared and own words, all of them random."""
    shared = round(jaccard * size)
    own = round((size - shared) / 2)
    pool = [f"{generator.getrandbits(60):015x}" for _ in range(shared + 2 * own)]
    return pool[: shared + own], pool[:shared] + pool[shared + own :], shared / (shared + 2 * own)


def test_the_estimate_is_unbiased_and_as_exact_as_datasketch():
    generator = random.Random(3)
    count, errors, reference = 260, [], []
    shingles, functions = shingling("words", 1), family(count, 1)
    for jaccard in np.linspace(0.05, 0.95, 60):
        one, other, exact = planted(float(jaccard), 400, generator)
        (a, b), _ = signatures(pa.array([" ".join(one), " ".join(other)], pa.large_string()), shingles, functions)
        errors.append(((a == b).mean() - exact) / math.sqrt(exact * (1 - exact) / count))
        sketches = [MinHash(count, seed=1), MinHash(count, seed=1)]
        for sketch, items in zip(sketches, (one, other)):
            sketch.update_batch([item.encode() for item in items])
        reference.append((sketches[0].jaccard(sketches[1]) - exact) / math.sqrt(exact * (1 - exact) / count))
    ours, theirs = (float(np.sqrt(np.mean(np.square(e)))) for e in (errors, reference))
    assert ours < 1.3  # in units of the binomial standard error; 1 is the theory, 1.3 is four deviations of 60 trials
    assert abs(ours - theirs) < 0.5
    assert abs(np.mean(errors)) < 4 / math.sqrt(len(errors))


@pytest.mark.parametrize(("unit", "size", "bands", "rows"), [("characters", 24, 20, 13), ("words", 5, 14, 8)])
def test_the_estimate_holds_on_edited_real_text(shared_data, unit, size, bands, rows):
    import zstandard

    path = shared_data / "labelled" / "neardup-argrewrite.jsonl.zst"
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        drafts = [json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n")]
    drafts.sort(key=lambda draft: (draft["cluster"], draft["id"]))
    texts = pa.array([draft["text"] for draft in drafts], pa.large_string())
    shingles = shingling(unit, size)
    got, _ = signatures(texts, shingles, family(bands * rows, 1))
    sets = [set(h.tolist()) for h in shingle_hashes(texts, shingles)]
    errors = []
    for i in range(len(sets) - 1):
        exact = len(sets[i] & sets[i + 1]) / len(sets[i] | sets[i + 1])
        errors.append((got[i] == got[i + 1]).mean() - exact)
    assert np.sqrt(np.mean(np.square(errors))) < 0.5 / math.sqrt(bands * rows)  # the worst case, J = 1/2, throughout


@pytest.mark.slow
@pytest.mark.parametrize("jaccard", [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("bands", "rows"), [(20, 13), (14, 8)])
def test_candidates_come_at_the_rate_of_the_formula(jaccard, bands, rows):
    generator = random.Random(int(jaccard * 100))
    pairs = [planted(jaccard, 200, generator) for _ in range(400)]
    texts = pa.array([" ".join(words) for one, other, _ in pairs for words in (one, other)], pa.large_string())
    route, check, has = band_hashes(texts, shingling("words", 1), family(bands * rows, 1), bands)
    assert has.all()
    met = ((route[::2] == route[1::2]) & (check[::2] == check[1::2])).any(1).sum()
    rate = 1 - (1 - pairs[0][2] ** rows) ** bands
    assert abs(met - 400 * rate) <= 4.5 * math.sqrt(400 * rate * (1 - rate)) + 1


def test_route_and_check_agree_exactly_where_the_band_does():
    texts = pa.array([f"grist mill {i % 7} " + "flour " * (i % 3) for i in range(40)], pa.large_string())
    shingles, functions = shingling("words", 2), family(12, 1)
    rows = signatures(texts, shingles, functions)[0].reshape(40, 4, 3)
    route, check, _ = band_hashes(texts, shingles, functions, 4)
    for i in range(40):
        same = (rows == rows[i]).all(2)
        assert ((route == route[i]) == same).all()
        assert ((check == check[i]) == same).all()
    assert not np.isin(route[:, 0], route[:, 1:]).any()  # equal rows in different bands do not meet


def test_documents_of_different_scopes_share_no_band():
    texts = pa.array(["one and the same text of more than a few words"] * 3, pa.large_string())
    scopes = np.array([1, 2, 1], np.uint64)
    route, check, _ = band_hashes(texts, shingling("words", 5), family(112, 1), 14, scopes)
    assert (route[0] == route[2]).all()
    assert (check[0] == check[2]).all()
    assert not np.isin(route[0], route[1]).any()


def test_another_seed_is_another_family():
    one, other = family(260, 1), family(260, 2)
    assert (one.multipliers % 2 == 1).all()
    assert len(set(one.multipliers.tolist())) == 260
    assert not np.isin(one.multipliers, other.multipliers).any()
    assert (family(20, 1).multipliers == one.multipliers[:20]).all()


def test_one_huge_document_and_slices():
    huge = " ".join(str(i) for i in range(400_000))
    texts = pa.array(["before", huge, huge + " end", "after"], pa.large_string())
    for unit, size in (("characters", 24), ("words", 5)):
        shingles, functions = shingling(unit, size), family(112, 1)  # type: ignore[arg-type]
        whole, has = signatures(texts, shingles, functions)
        assert has.tolist() == [False, True, True, False]
        assert (signatures(texts.slice(1, 2), shingles, functions)[0] == whole[1:3]).all()
    numbered = signatures(texts, shingling("characters", 24), family(112, 1))[0]
    assert (numbered[1] == numbered[2]).mean() > 0.9


def test_impossible_parameters_are_refused():
    with pytest.raises(ValueError, match="unit 'lines' is unknown"):
        shingling("lines", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size 0 is too small"):
        shingling("words", 0)
    with pytest.raises(ValueError, match="do not divide into 3 bands"):
        band_hashes(pa.array(["x"], pa.large_string()), shingling("words", 1), family(10, 1), 3)
