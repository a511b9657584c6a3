"""What is known before it costs: sentences with a remedy that works, at the first step at which it is certain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_run import code, prose

from gristmill.pipeline.cli import main
from gristmill.pipeline.config.keys import Config, ShardsConfig, TokenizerConfig, load
from gristmill.pipeline.plan.foreseen import (
    before_reading,
    blend_finding,
    holdout_finding,
    of_totals,
    possible_domains,
    small_vocabulary,
    unit,
)
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.run import run
from gristmill.pipeline.steps.findings import Void
from gristmill.pipeline.steps.first_pass import Volume
from gristmill.stages.blend import Blend

THIRDS = {"english": 0.70, "multilingual": 0.15, "code": 0.15}
SOME = Volume(10, 1000)


def configured(*sources: dict[str, Any], **fields: Any) -> Config:
    specs = tuple(SourceSpec(f"s{i}", "x", **source) for i, source in enumerate(sources))
    return Config(specs, **fields)


@pytest.mark.parametrize(
    ("sources", "languages", "possible"),
    [
        ([{}], None, {"english", "multilingual", "code"}),
        ([{"domain": "english"}], None, {"english"}),
        ([{"domain": "english"}, {"domain": "code"}], None, {"english", "code"}),
        ([{"domain": "english"}, {}], ("en",), {"english", "code"}),
        ([{}], ("de", "fr"), {"multilingual", "code"}),
    ],
)
def test_sources_and_languages_say_which_domains_there_can_be(
    sources: list[dict[str, Any]], languages: tuple[str, ...] | None, possible: set[str]
) -> None:
    assert possible_domains(configured(*sources, languages=languages)) == possible


def test_a_blend_that_no_source_can_give_is_known_before_anything_is_read() -> None:
    config = configured({"domain": "english"}, tokenizer=TokenizerConfig(2000))
    [finding] = before_reading(config)
    assert (finding.kind, finding.void) == ("blend.unmet", True)
    assert finding.sentence == (
        "blend pretrain: 15% multilingual and 15% code of it are wanted, and no source can hold it, as sources and "
        "languages say; give their share to the others with --set blends.pretrain.on_shortage=renormalize, or other "
        "shares with --set 'blends.pretrain.domains={english: 1, multilingual: 0, code: 0}'"
    )
    told = configured({"domain": "english"}, blends={"b": Blend(THIRDS, on_shortage="renormalize")})
    assert before_reading(told) == []
    assert before_reading(
        configured({"domain": "code"}, blends={"b": Blend({"english": 1}, on_shortage="renormalize")})
    )


def found(blend: Blend, units: Sequence[tuple[str, str, str, str]]) -> str:
    finding = blend_finding("b", blend, [unit(*each, SOME) for each in units])
    return finding.sentence if finding else ""


EN, DE, PY = (
    ("english", "web", "crawl", "en"), ("multilingual", "web", "crawl", "de"), ("code", "misc", "repos", "python")
)  # fmt: skip


def test_after_the_first_pass_domains_groups_and_tokens_that_are_not_there_are_known() -> None:
    assert found(Blend(THIRDS), [EN, DE, PY]) == ""
    assert found(Blend(THIRDS), [EN, DE]).startswith("blend b: 15% code of it is wanted, and there is none after")
    assert found(Blend(THIRDS, on_shortage="renormalize"), [EN]) == ""
    books = Blend({"english": 1}, within={"english": {"categories": {"books": 0.5, "web": 0.5}}})
    assert "no text of the category books" in found(books, [EN, DE])
    assert found(Blend({"english": 1}, within={"english": {"sources": {"crawl": 1}}}), [EN]) == ""
    assert "no text of the language fr" in found(
        Blend({"multilingual": 1}, within={"multilingual": {"languages": {"de": 0.5, "fr": 0.5}}}), [DE]
    )
    assert "5,000 tokens are more than 4,040" in found(Blend({"english": 1}, tokens=5000), [EN])
    assert found(Blend({"english": 1}, tokens=4000), [EN]) == ""
    own = Blend({"english": 1}, within={"english": {"no_such_module:f": 1}})
    assert found(own, [EN]) == ""


def test_a_tokenizer_that_cannot_be_trained_is_known() -> None:
    totals = {("multilingual", "de"): SOME}
    shares = TokenizerConfig(2000, shares={"english": 1.0})
    blends = {"b": Blend({"multilingual": 1})}
    [finding] = of_totals(configured({}, tokenizer=shares, blends=blends), totals, "after curate")
    assert finding.sentence.startswith("the tokenizer is trained on english, and no text is of it")
    [finding] = of_totals(configured({}, tokenizer=TokenizerConfig(5000), blends=blends), totals, "after curate")
    assert finding.sentence.startswith("tokenizer.vocab_size is 5,000, more than 1,000 bytes of text can give")
    assert of_totals(configured({}, blends=blends), totals, "after curate") == []  # auto takes what fits
    [finding] = small_vocabulary(configured({}, tokenizer=TokenizerConfig(900)))
    assert "256 bytes, 660 digits and 4 control pieces come first" in finding.sentence
    [finding] = of_totals(configured({}), {}, "after rules")
    assert finding.sentence.startswith("nothing is left after rules")


def test_a_holdout_that_would_be_empty_is_an_error_where_it_was_asked_for() -> None:
    from gristmill.pipeline.config.sizes import Amounts

    for share, void in ((0.001, True), ("auto", False)):
        given = configured({}, shards=ShardsConfig(holdout=share))  # type: ignore[arg-type]
        [finding] = holdout_finding(given.settled(Amounts(10, 10)), given, 50)
        assert finding.void is void
        assert "--set shards.holdout=0.04" in finding.sentence
    none = configured({}, shards=ShardsConfig(holdout=0))
    assert holdout_finding(none.settled(Amounts(10, 10)), none, 50) == []


def test_a_model_that_is_not_there_stops_before_anything_is_read(tmp_path: Path) -> None:
    from gristmill.stages.decontaminate import Decontaminate

    with pytest.raises(ValueError, match="no such file or folder"):
        before_reading(configured({}, stages=(Decontaminate(benchmarks=(f"file://{tmp_path}/none.jsonl",)),)))
    (tmp_path / "t.model").write_text("no model")
    with pytest.raises(ValueError, match=r"tokenizer.path: .*t.model is no SentencePiece model"):
        before_reading(configured({}, tokenizer=TokenizerConfig(path=str(tmp_path / "t.model"))))


def minimal(folder: Path, model: Path, records: list[dict[str, Any]], **source: Any) -> str:
    """The README's minimal configuration over these records."""
    (folder / "a.jsonl").write_text("\n".join(json.dumps(record) for record in records), "utf-8")
    config = {
        "output": str(folder / "out"),
        "sources": [{"name": "mine", "uri": str(folder / "a.jsonl"), **source}],
        "stages": [{"language": {"model": str(model)}}, "exact_dedup"],
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_corpus_without_code_ends_after_the_first_pass_and_both_remedies_work(
    tmp_path: Path, language_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [row["text"] for row in prose() if "```" not in row["text"] and "import " not in row["text"]]
    path = minimal(tmp_path, language_model, [{"text": f"{text} {i}"} for i in range(4) for text in plain])
    code_, _, err = answer(capsys, "run", path, "--inline")
    assert code_ == 1
    assert "blend pretrain: 15% multilingual and 15% code of it are wanted, and there is none" in err
    assert "of it text: partitions of 4 MB, 8,192 pieces" in err
    assert not [name for name in (tmp_path / "out" / "work").iterdir() if not name.name.startswith(("read", "format"))]
    remedies = [part.split("'")[0] if part[0] != "'" else part.split("'")[1] for part in err.split("--set ")[1:]]
    assert len(remedies) == 2
    for remedy in (remedies[0].split(",")[0], remedies[1]):
        code_, out, err = answer(capsys, "run", path, "--inline", "--set", remedy)
        assert code_ == 0, err
        assert "blend pretrain: epochs: english 4.0" in out
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["configuration"]["plan"]["partition_bytes"] == 4_000_000
    assert record["configuration"]["tokenizer"]["vocab_size"] == 8_192
    assert record["plan"]["sizes"].startswith("for ")


def test_a_few_documents_are_enough_for_auto_and_what_is_left_out_or_decoded_is_said(
    tmp_path: Path, language_model: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    text = "Die Mühle steht am Fluß, und im Herbst bringen die Bauern aus dem Tal ihr Getreide hierher. " * 5
    for i in range(6):
        (folder / f"{i}.txt").write_bytes(f"{text}{i}".encode("cp1252" if i % 2 else "utf-8"))
    (folder / "x.bin").write_bytes(bytes(range(256)))
    path = minimal(tmp_path, language_model, [], uri=str(folder), format="text")
    done = run(load(path, ["blends={b: {domains: {multilingual: 1}}}"]), inline=True)
    found = {finding["kind"]: finding["sentence"] for finding in done.record["findings"]}
    assert "'x.bin' is left out, 256 bytes" in found["files.left_out"]
    assert "3 of 6 files are not UTF-8 and were read as what their bytes say: 3 " in found["encoding.other"]
    assert "nothing is held out; --set shards.holdout=0.33" in found["holdout.empty"]
    assert "text gives" not in "".join(found.values())
    with pytest.raises(Void, match=r"shards.holdout is 0.1 of 6 documents, which is none: nothing would be held out"):
        run(load(path, ["blends={b: {domains: {multilingual: 1}}}", "shards.holdout=0.1"]), inline=True)
    assert done.record["tokenizer"]["report"]["trained"]["vocab_size"] < 8192  # type: ignore[index]


def test_text_under_another_name_ends_before_anything_is_read(
    tmp_path: Path, language_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = minimal(tmp_path, language_model, [{"content": row["text"]} for row in prose()])
    for command in (["run", "--inline"], ["plan"]):
        code_, _, err = answer(capsys, *command, path)
        assert code_ == 2
        assert "source mine: none of the first 100 records of its file has `text`; add columns: {text: content}" in err
    assert not list((tmp_path / "out" / "work").glob("read-*"))


def test_findings_are_in_record_report_and_datasheet_and_again_on_resume(tmp_path: Path, language_model: Path) -> None:
    rows = [{"id": i, "text": row["text"], "date": "2020-01-01"} for i, row in enumerate(prose())]
    rows += [{"id": "", "text": row["text"], "date": "no date"} for row in code()[:9]]
    rows += [{"id": "empty", "text": " "}, {"id": "none", "text": None}, {"id": "none", "text": None}]
    path = minimal(tmp_path, language_model, rows, columns={"id": "id", "timestamp": "date"})
    config = load(path, ["blends={b: {domains: {english: 1}}}"])
    said: list[str] = []
    first = run(config, inline=True, say=said.append)
    kinds = {finding["kind"] for finding in first.record["findings"]}
    assert {"text.none", "ids.empty", "dates.unread"} <= kinds
    sentences = [finding["sentence"] for finding in first.record["findings"]]
    assert set(sentences) <= set(said)
    [dates] = [sentence for sentence in sentences if "dates under `date`" in sentence]
    assert dates.startswith("source mine: 9 of ")
    assert set(sentences) <= set(first.summary)
    out = tmp_path / "out"
    assert "cannot be read or cannot be" in (out / "report" / "index.html").read_text("utf-8")
    assert "### What was found in the sources" in (out / "datasheet.md").read_text("utf-8")
    assert run(config, inline=True).record["findings"] == first.record["findings"]
    with pytest.raises(Void, match="--strict makes an error of each") as strict:
        run(config, inline=True, strict=True)
    assert strict.value.exit_code == 1


def test_ids_that_repeat_in_depth_stop_before_the_rest_of_the_run(tmp_path: Path, language_model: Path) -> None:
    rows = [{"id": f"{i}" if i < 100 else "again", "text": f"{row['text']} {i}"} for i, row in enumerate(4 * prose())]
    path = minimal(tmp_path, language_model, rows, columns={"id": "id"})
    with pytest.raises(Void, match=r"ids \(\d+%\) occur more than once in the source.*ids: per_file"):
        run(load(path, ["blends={b: {domains: {english: 1}}}"]), inline=True)
    assert not list((tmp_path / "out" / "work").glob("exact_dedup*"))


def test_a_source_of_which_nothing_is_left_is_said_and_void_where_it_is_the_only_one(
    tmp_path: Path, language_model: Path
) -> None:
    path = minimal(tmp_path, language_model, [{"text": "0 1 2 3"}] * 9)
    with pytest.raises(Void, match="nothing is left after the first pass: of 9 records 9 as language") as stopped:
        run(load(path), inline=True)
    assert stopped.value.exit_code == 1


def test_a_source_that_is_mostly_code_and_not_said_to_be(tmp_path: Path, language_model: Path) -> None:
    path = minimal(tmp_path, language_model, [*code(), *prose()[:20]])
    done = run(load(path, ["blends={b: {domains: {english: 0.5, code: 0.5}}}"]), inline=True)
    [finding] = [each for each in done.record["findings"] if each["kind"] == "code.unsaid"]
    assert "add `domain: code`" in finding["sentence"]
