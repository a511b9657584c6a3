"""Sizes that are `auto`: functions of the inventory alone, in steps, and nothing that is set is touched."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.config.keys import (
    Config,
    ConfigError,
    PlanConfig,
    ShardsConfig,
    TokenizerConfig,
    chosen,
    load,
    settled,
)
from gristmill.pipeline.config.sizes import Amounts, Sizes, amounts, sizes_for
from gristmill.pipeline.readers.inventory import FileEntry
from gristmill.pipeline.readers.segments import partitions

CONFIG = Config(())


def files(size: int, number: int = 1, **fields: object) -> list[FileEntry]:
    entry = FileEntry("s", "/x", "x", size // number, "e", "jsonl")
    return [replace(entry, path=f"x{i}", **fields) for i in range(number)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (100_000, Sizes(4_000_000, 8_192, 50_000_000, 2_000_000, 0.01)),
        (100_000_000, Sizes(4_000_000, 16_384, 50_000_000, 2_000_000, 0.01)),
        (1_000_000_000, Sizes(16_000_000, 32_768, 125_000_000, 10_000_000, 0.001)),
        (10_000_000_000, Sizes(256_000_000, 65_536, 500_000_000, 100_000_000, 0.001)),
        (10_000_000_000_000, Sizes(256_000_000, 256_000, 500_000_000, 100_000_000, 0.001)),
    ],
)
def test_sizes_follow_from_the_text(text: int, expected: Sizes) -> None:
    assert sizes_for(Amounts(text, text)) == expected


@pytest.mark.parametrize("size", [100_000_000, 138_000_000])
def test_a_laptop_s_file_is_a_few_dozen_tasks(size: int) -> None:
    entries = files(size)
    assert 16 <= len(partitions(entries, settled(CONFIG, entries).sizes.partition_bytes)) <= 40


@given(st.integers(0, 10**14), st.integers(0, 10**14))
def test_more_text_never_means_less(one: int, other: int) -> None:
    small, large = (sizes_for(Amounts(n, n)) for n in sorted((one, other)))
    for name in ("partition_bytes", "vocab_size", "sample_bytes", "tokens_per_shard"):
        assert getattr(small, name) <= getattr(large, name)
    assert small.holdout >= large.holdout


def test_what_is_set_stays() -> None:
    given = Config(
        (), tokenizer=TokenizerConfig(300, None, 7), shards=ShardsConfig(9, 0.5), plan=PlanConfig(partition_bytes=11)
    )
    assert given.settled(Amounts(10**9, 10**9)) == given
    assert asdict(given.sizes) == {
        "partition_bytes": 11, "vocab_size": 300, "sample_bytes": 7, "tokens_per_shard": 9, "holdout": 0.5,
    }  # fmt: skip
    assert chosen(given, Amounts(10**9, 10**9)) is None


def test_one_that_is_set_leaves_the_others_to_the_input() -> None:
    given = Config((), plan=PlanConfig(partition_bytes=11)).settled(Amounts(10**8, 10**8))
    assert (given.sizes.partition_bytes, given.sizes.vocab_size) == (11, 16_384)


def test_compressed_files_pages_and_row_groups_count_as_the_text_in_them() -> None:
    assert amounts(files(1000)) == Amounts(1000, 1000)
    assert amounts(files(1000, compression="gz")) == Amounts(4000, 4000)
    assert amounts(files(1000, row_groups=(300, 400))) == Amounts(700, 700)
    assert amounts(files(1000, compression="gz", format="warc")) == Amounts(4000, 400)


def test_the_plan_says_what_was_chosen() -> None:
    said = chosen(CONFIG, Amounts(138_000_000, 138_000_000))
    assert said == (
        "for 138.0 MB of input, about 138.0 MB of it text: partitions of 4 MB, 16,384 pieces, a sample of 50 MB for "
        "the tokenizer, shards of 2 M tokens, 1.0% held out"
    )
    given = replace(CONFIG, tokenizer=TokenizerConfig(path="t.model"))
    assert "pieces" not in (chosen(given, Amounts(10**8, 10**8)) or "")


def test_sizes_that_are_not_settled_are_not_used() -> None:
    with pytest.raises(RuntimeError, match="partition_bytes is still auto"):
        _ = CONFIG.sizes


def test_auto_can_be_written_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sources: [{name: m, uri: 'machine:'}]\nplan: {partition_bytes: 5e6}\nshards: {holdout: 0.1}\n")
    set_back = load(str(path), ["plan.partition_bytes=auto", "shards.holdout=auto"])
    assert (set_back.plan.partition_bytes, set_back.shards.holdout) == ("auto", "auto")
    assert load(str(path)).plan.partition_bytes == 5_000_000
    with pytest.raises(ConfigError, match="should be 'auto' or a whole number"):
        load(str(path), ["plan.partition_bytes=automatic"])
