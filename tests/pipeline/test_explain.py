"""`gristmill explain` on a real run: every verdict, cluster, difference and shard offset is what the files say."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from corpus import lay_out, records, rows_of

from gristmill.pipeline.commands.explain import explain as command
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run
from gristmill.pipeline.views.explain.diff import Line
from gristmill.pipeline.views.explain.explanation import Explanation, explain
from gristmill.pipeline.views.explain.find import PREFIX_DIGITS, find, parse
from gristmill.pipeline.views.explain.show import page, safe
from gristmill.stages.registry import PREPARING
from gristmill.storage.store import Store
from gristmill.tokenizer.encode import Encoder

pytestmark = pytest.mark.slow

URL = "https://example.org/planted/{}"


@pytest.fixture(scope="module")
def output(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    """The corpus of the whole-run tests, with some documents of known fate beside it, and two blends."""
    folder = tmp_path_factory.mktemp("explained")
    config = lay_out(shared_data, folder, language_model)
    prose = sorted((shared_data / "english").glob("*.jsonl.zst"))
    unused = (r for path in prose for r in list(records(path, 150))[120:])  # of each the corpus has 120
    original = next(r for r in unused if 2_000 < len(r["text"]) < 20_000 and "\n" in r["text"])
    text = "Here begins a planted text, which nobody else has.\n" + original["text"]
    near = text.replace("a planted text", "one planted text", 1) + "\nA last line that the other has not."
    planted = [
        {"text": text, "url": URL.format("oldest"), "timestamp": "2001-02-03"},
        {"text": near, "url": URL.format("near"), "timestamp": "2011-02-03"},
        {"text": text.replace("\n", "\r\n") + "\n", "url": URL.format("exact"), "timestamp": "2012-02-03"},
        {"text": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n" * 9, "url": URL.format("none")},
    ]
    lines = [*(json.dumps(row) for row in planted), '{"text": "this object never ends']
    (folder / "input" / "other-planted.jsonl").write_text("\n".join(lines), encoding="utf-8")
    again = {"id": next(records(prose[0], 1))["id"], "text": "Another text under the id of an earlier one. " * 20}
    with gzip.open(folder / "input" / "english-again.jsonl.gz", "wt") as file:
        file.write(json.dumps(again))
    values = yaml.safe_load(config.read_text())
    values["blends"]["little"] = {"domains": {"english": 0.5, "code": 0.5}, "tokens": 40_000}
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    return Path(run(load(str(config)), inline=True).output)


@pytest.fixture
def bare(output: Path, tmp_path: Path) -> Path:
    """The output's published folders alone."""
    shutil.copytree(output, tmp_path / "bare", ignore=shutil.ignore_patterns("work", "report"))
    return tmp_path / "bare"


def of(output: Path, query: str) -> Explanation:
    return explain(Store(str(output)), query)


def ledger(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(output.glob("ledger/*/*.parquet")) for row in pq.read_table(path).to_pylist()]


def copies(output: Path, blend: str) -> list[tuple[Path, dict[str, Any]]]:
    files = sorted((output / "shards" / blend).rglob("*.docs.parquet"))
    return [(path, row) for path in files for row in pq.read_table(path).to_pylist()]


def curated(output: Path) -> dict[str, dict[str, Any]]:
    files = sorted((output / "curated").rglob("*.parquet"))
    return {row["id"]: row | {"file": path} for path in files for row in rows_of(path)}


def actions(explanation: Explanation) -> dict[str, str]:
    return {step.stage: step.action for step in explanation.steps}


def require_ids_in_shards(output: Path, explanation: Explanation, text: str) -> int:
    """Every copy's ids in its .bin are the tokenizer's of the text, eos at the end; returns the number of copies."""
    expected = Encoder(output / "tokenizer" / "tokenizer.model").encode(text, eos=True)
    found = [copy for blend in explanation.blends for copy in blend.copies]
    for copy in found:
        content = (output / copy.file).read_bytes()[copy.byte_offset : copy.byte_offset + copy.bytes]
        np.testing.assert_array_equal(np.frombuffer(content, "<i4"), expected)
        assert copy.tokens == explanation.tokens == len(expected)
    return len(found)


def test_a_kept_document_is_followed_from_its_record_to_its_tokens(output: Path) -> None:
    kept = curated(output)
    held = {row["id"] for path, row in copies(output, "pretrain") if path.parent.name == "holdout"}
    drawn = {row["id"] for _, row in copies(output, "pretrain")} - held
    key = min(drawn)
    found = of(output, key)
    row = kept[key]
    assert found.outcome == "curated"
    for name in ("source", "path", "record", "own_id", "domain", "category", "language", "url", "priority"):
        assert found.document[name] == row[name]
    assert found.curated is not None
    table = pq.read_table(output / found.curated["file"])
    assert table.column("id")[found.curated["row"]].as_py() == key
    assert require_ids_in_shards(output, found, row["text"]) >= 1
    assert found.text is not None
    assert row["text"].startswith(found.text.excerpt)
    assert {step.action for step in found.steps} <= {
        "kept", "edited", "measured", "written", "encoded", "counted", "taken", "not taken", "drawn", "not drawn",
    }  # fmt: skip


def test_every_step_of_the_run_is_named_once(output: Path) -> None:
    steps = json.loads((output / "run.json").read_text())["steps"]
    found = of(output, min(curated(output)))
    named = {step.step: step.parts for step in found.steps}
    assert [part for parts in named.values() for part in parts] == [
        name for group in named for name in (s["name"] for s in steps) if name in named[group]
    ]
    assert {part for parts in named.values() for part in parts} == {step["name"] for step in steps}


def test_a_document_that_is_drawn_twice_has_every_copy_at_its_offset(output: Path) -> None:
    count: dict[str, list[int]] = {}
    for path, row in copies(output, "pretrain"):
        if path.parent.name != "holdout":
            count.setdefault(row["id"], []).append(row["epoch"])
    key = min(key for key, epochs in count.items() if len(epochs) >= 2)
    found = of(output, key)
    blend = next(blend for blend in found.blends if blend.name == "pretrain")
    assert [copy.epoch for copy in blend.copies] == sorted(count[key])
    assert require_ids_in_shards(output, found, curated(output)[key]["text"]) >= 2


def test_a_held_out_document_is_in_the_holdout_of_every_blend_alone(output: Path) -> None:
    key = min(row["id"] for path, row in copies(output, "pretrain") if path.parent.name == "holdout")
    found = of(output, key)
    assert [(blend.name, len(blend.copies), blend.copies[0].holdout) for blend in found.blends] == [
        ("pretrain", 1, True),
        ("little", 1, True),
    ]
    assert require_ids_in_shards(output, found, curated(output)[key]["text"]) == 2
    assert actions(found)["blend/pretrain"] == "held out"


def test_a_document_that_no_blend_draws_is_said_not_to_be_drawn(output: Path) -> None:
    taken = {row["id"] for blend in ("pretrain", "little") for _, row in copies(output, blend)}
    drawn_little = {row["id"] for _, row in copies(output, "little")}
    kept = curated(output)
    key = min(key for key in kept if key not in drawn_little and kept[key]["domain"] == "english")
    found = of(output, key)
    little = next(blend for blend in found.blends if blend.name == "little")
    assert little.copies == []
    assert little.detail.startswith("not drawn; its group (english · ")
    unused = sorted(set(kept) - taken)
    if unused:
        tokens = Encoder(output / "tokenizer" / "tokenizer.model").encode(kept[unused[0]]["text"], eos=True)
        assert of(output, unused[0]).tokens == len(tokens)


def test_a_document_dropped_by_a_rule_has_the_value_the_limit_and_all_failing_rules(output: Path) -> None:
    rules = pq.read_table(output / "manifests" / "rules.parquet").to_pylist()
    dropped = [row for row in ledger(output) if row["stage"] == "rules"]
    several = max(dropped, key=lambda row: (int.from_bytes(row["failed"], "little").bit_count(), row["id"]))
    for row in (dropped[0], several):
        found = of(output, row["id"])
        step = next(step for step in found.steps if step.stage == "rules")
        assert (found.outcome, step.action, step.rule) == ("dropped", "dropped", row["rule"])
        assert (step.value, step.limit) == (row["value"], row["limit"])
        mask = int.from_bytes(row["failed"], "little")
        assert step.failing == [rule["rule"] for rule in rules if mask >> rule["index"] & 1]
        assert [limit.rule for limit in found.limits if limit.failed] == step.failing
        assert {action for stage, action in actions(found).items() if stage.endswith("dedup")} == {"not reached"}
        for limit in found.limits:  # the mask agrees with the values beside it
            low = -np.inf if limit.minimum is None else limit.minimum
            high = np.inf if limit.maximum is None else limit.maximum
            inside = limit.value is None or low <= limit.value <= high
            assert limit.failed == (limit.applies and not inside)


def test_a_rule_that_is_not_for_the_documents_domain_does_not_apply(output: Path) -> None:
    found = of(output, min(key for key, row in curated(output).items() if row["domain"] == "code"))
    assert {limit.rule.split(".")[0] for limit in found.limits if limit.applies} == {"code"}
    assert "within all 3 rules that apply to it" in next(s.detail for s in found.steps if s.stage == "rules")


def shown(lines: list[Line]) -> list[str]:
    return [line.mark + "".join(text for text, _ in line.spans) for line in lines if line.mark != " "]


def test_a_near_duplicate_is_shown_beside_the_older_one_with_their_difference(output: Path) -> None:
    found = of(output, URL.format("near"))
    oldest = of(output, URL.format("oldest"))
    assert found.outcome == "dropped"
    (cluster,) = [c for c in found.clusters if c.role == "duplicate"]
    assert (cluster.step, cluster.survivor, cluster.size, cluster.fate) == ("near_dedup", oldest.id, 2, "kept")
    assert found.comparison is not None
    assert found.comparison.survivor["timestamp"] == "2001-02-03T00:00:00Z"
    changes = found.comparison.difference
    assert changes is not None
    assert len(changes.hunks) == 2
    assert shown(changes.hunks[0].lines) == [
        "-Here begins one planted text, which nobody else has.",
        "+Here begins a planted text, which nobody else has.",
    ]
    marked = [text for line in changes.hunks[0].lines for text, changed in line.spans if changed]
    assert marked == ["one", "a"]
    assert shown(changes.hunks[1].lines) == ["-A last line that the other has not."]
    assert 0.9 < changes.similarity < 1
    stays = {c.step: c for c in oldest.clusters}
    assert stays["near_dedup"].role == stays["exact_dedup"].role == "survivor"
    assert stays["near_dedup"].others == [(found.id, f"other:{found.document['path']}:{found.document['record']}")]


def test_an_exact_duplicate_differs_by_line_ends_alone(output: Path) -> None:
    found = of(output, URL.format("exact"))
    assert (found.outcome, actions(found)["exact_dedup"], actions(found)["near_dedup"]) == (
        "dropped",
        "dropped",
        "not reached",
    )
    assert found.comparison is not None
    assert found.comparison.difference is not None
    assert (found.comparison.normalised, found.comparison.difference.equal) == (True, False)
    assert found.comparison.survivor["url"] == URL.format("oldest")


def test_a_quarantined_record_is_shown_as_far_as_it_can_be_read_again(output: Path) -> None:
    row = next(r for r in ledger(output) if r["path"] == "other-planted.jsonl" and r["action"] == "quarantined")
    found = of(output, row["id"])
    assert (found.outcome, found.summary) == ("quarantined", "quarantined at read: read.malformed_json")
    assert found.limits == []
    assert found.text is not None
    assert found.text.excerpt == '{"text": "this object never ends'
    assert any("preview" in note for note in found.notes)
    assert of(output, f"other:other-planted.jsonl:{row['record']}").id == found.id


def test_a_document_without_a_language_has_its_score_and_its_text_from_the_source(output: Path) -> None:
    row = next(r for r in ledger(output) if r["path"] == "other-planted.jsonl" and r["stage"] == "language")
    found = of(output, row["id"])
    step = next(step for step in found.steps if step.stage == "language")
    assert (found.outcome, step.rule, step.value, step.limit) == ("dropped", row["rule"], row["value"], row["limit"])
    assert found.text is not None
    assert found.text.excerpt.startswith("1 2 3 4 5")
    assert found.document["url"] == URL.format("none")
    assert actions(found)["signals"] == "not reached"


def test_where_the_source_is_gone_the_preview_is_shown_and_the_reason(bare: Path) -> None:
    record = json.loads((bare / "run.json").read_text())
    for source in record["configuration"]["sources"]:
        source["uri"] = "/nowhere/" + Path(source["uri"]).name
    (bare / "run.json").write_text(json.dumps(record))
    row = next(r for r in ledger(bare) if r["stage"] == "language" and r["preview"])
    found = of(bare, row["id"])
    assert found.text is not None
    assert found.text.excerpt == row["preview"]
    assert any("cannot be read from here" in note for note in found.notes)


def test_a_web_page_that_left_in_the_first_pass_is_read_again_and_extracted(output: Path) -> None:
    row = next(r for r in ledger(output) if r["stage"] == "language" and r["source"].startswith("crawl"))
    found = of(output, row["id"])
    assert found.text is not None
    assert found.text.origin.startswith("read again")
    assert " ".join(found.text.excerpt.split())[:100] == (row["preview"] or "").strip()[:100]
    assert found.document["url"]


def test_two_texts_under_one_id_are_told_apart_by_their_place(output: Path) -> None:
    row = next(r for r in ledger(output) if r["rule"] == "identity.duplicate_id")
    first = of(output, row["id"])
    second = of(output, f"{row['source']}:{row['path']}:{row['record']}")
    assert first.id == second.id
    assert second.outcome == "quarantined"
    assert first.document["path"] != second.document["path"]
    assert any(second.document["path"] in note for note in first.notes)
    assert second.comparison is not None
    assert second.comparison.survivor["path"] == first.document["path"]


def test_a_document_is_found_by_prefix_own_id_url_and_place(output: Path) -> None:
    kept = curated(output)
    key, row = min((key, row) for key, row in kept.items() if row["own_id"])
    queries = [key, key.upper(), row["own_id"], f"{row['source']}:{row['own_id']}"]
    queries.append(f"{row['source']}:{row['path']}:{row['record']}")
    length = next(n for n in range(PREFIX_DIGITS, 33) if sum(k.startswith(key[:n]) for k in kept) == 1)
    assert {of(output, query).id for query in [*queries, key[: length + 4], key[: length + 5]]} == {key}


def test_what_is_not_there_or_not_one_document_is_a_sentence_with_a_remedy(output: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^ffffffffffffffffffffffffffffffff: no document of .* the first 6 and more"):
        of(output, "f" * 32)
    with pytest.raises(ValueError, match=r"^other:other-0\.jsonl: \d+ documents match: .* more; give the id of one$"):
        of(output, "other:other-0.jsonl")
    with pytest.raises(ValueError, match="nothing to look for"):
        of(output, "  ")
    with pytest.raises(ValueError, match="holds no signals/"):
        of(tmp_path, "f" * 32)


def test_what_was_removed_on_request_is_said_to_be(bare: Path) -> None:
    line = {"id": "ab" * 16, "source": "other", "path": "other-0.jsonl"}
    (bare / "removed.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"removed from .* on request; nothing is held of it"):
        of(bare, "ab" * 16)


def test_a_partition_that_failed_is_where_the_way_ends(bare: Path) -> None:
    kept = curated(bare)
    key = min(key for key in kept if kept[key]["source"] == "code")
    shutil.rmtree(bare / "curated")
    record = json.loads((bare / "run.json").read_text())
    step = next(step for step in record["steps"] if step["name"] == "near_dedup")
    step["missing"] = [of(bare, key).document["partition"]]
    (bare / "run.json").write_text(json.dumps(record))
    found = of(bare, key)
    assert found.outcome == "missing"
    assert (actions(found)["exact_dedup"], actions(found)["near_dedup"], actions(found)["curate"]) == (
        "kept",
        "missing",
        "not reached",
    )


def test_without_work_the_published_folders_answer(output: Path, bare: Path) -> None:
    for query in (URL.format("near"), URL.format("oldest"), min(curated(output))):
        whole, part = of(output, query), of(bare, query)
        assert part.summary == whole.summary
        assert part.steps == whole.steps
        assert part.clusters == whole.clusters
        assert part.blends == whole.blends
        assert part.signals == whole.signals
        assert part.comparison == whole.comparison
        assert any("work/" in note for note in part.notes)


def test_without_run_json_the_ledger_still_tells_the_way(bare: Path) -> None:
    whole = of(bare, URL.format("near"))
    (bare / "run.json").unlink()
    part = of(bare, URL.format("near"))
    assert part.summary == whole.summary
    assert any("run.json is missing" in note for note in part.notes)
    assert [step.stage for step in part.steps][:6] == ["read", "extract", *PREPARING, "language", "signals"]


def test_a_uri_is_the_same_as_a_path(output: Path) -> None:
    by_uri = explain(Store(f"file://{output}"), URL.format("near"))
    assert by_uri.to_dict() | {"output": ""} == of(output, URL.format("near")).to_dict() | {"output": ""}


def test_json_holds_the_same_as_the_page(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command()(command)
    for query in (URL.format("near"), min(curated(output))):
        with pytest.raises(SystemExit):
            app([query, str(output), "--json"])
        value = json.loads(capsys.readouterr().out)
        assert value == json.loads(json.dumps(of(output, query).to_dict()))


@pytest.mark.parametrize("colour", [False, True])
def test_the_page_fits_eighty_columns_and_obeys_no_control_character(
    output: Path, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.cells import cell_len
    from rich.console import Console

    monkeypatch.delenv("NO_COLOR", raising=False)
    keys = sorted(curated(output))[:4] + [row["id"] for row in ledger(output)[::400]]
    for query in [URL.format("near"), URL.format("exact"), *keys]:
        console = Console(width=80, force_terminal=colour, color_system="truecolor" if colour else None)
        with console.capture() as capture:
            console.print(page(of(output, query)))
        text = capture.get()
        assert ("\x1b[" in text) == colour
        if not colour:
            assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert safe("a\x1b[31mb\u202ec\x07\td\n") == "a␛[31mb<U+202E>c␇\td\n"


def test_a_prefix_is_scanned_for_as_its_digits_say(output: Path) -> None:
    store = Store(str(output))
    ids = [key for path in (output / "signals").glob("*.parquet") for key in pq.read_table(path)["id"].to_pylist()]
    gone = {bytes.fromhex(row["id"]) for row in ledger(output)}
    for digits in (6, 7, 12, 31):
        wanted = ids[digits].hex()[:digits]
        places, count = find(store, parse(wanted, ["english"]))
        assert {place.id for place in places} == {key for key in {*ids, *gone} if key.hex().startswith(wanted)}
        assert count == len(places)
