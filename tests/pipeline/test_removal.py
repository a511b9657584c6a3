"""Removal requests: the output is what it would be if the documents had never been there, and nothing holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import differences, lay_out_small, tree

from gristmill.kernels.text.hashing import document_ids
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine.exchange import Incoming, receive
from gristmill.pipeline.run import run
from gristmill.pipeline.steps.removal import PATH, Removed, request
from gristmill.pipeline.steps.removal import load as load_removed
from gristmill.pipeline.upkeep.remove import remove
from gristmill.pipeline.upkeep.verify import verify
from gristmill.storage.store import Store

pytestmark = pytest.mark.slow

SOURCES = {"english": (3, 40, 41), "code": (10,)}
"""Documents to remove: their places among the source's lines."""


@pytest.fixture(scope="module")
def config_path(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    return lay_out_small(shared_data, tmp_path_factory.mktemp("removal"), language_model)


def own_ids(folder: Path, source: str) -> list[str]:
    lines = (folder / "input" / f"{source}.jsonl").read_text("utf-8").split("\n")
    return [json.loads(line)["id"] for line in lines if line.strip()]


def ids_of(folder: Path) -> list[str]:
    result = []
    for source, places in SOURCES.items():
        chosen = [own_ids(folder, source)[place] for place in places]
        result += [bytes(row).hex() for row in document_ids(source, pa.array(chosen))]
    return result


def blanked(config_path: Path, folder: Path) -> Path:
    """The same input with white space where the documents stood: every other document keeps its place."""
    (folder / "input").mkdir(parents=True)
    for path in (config_path.parent / "input").iterdir():
        lines = path.read_bytes().split(b"\n")
        for place in SOURCES.get(path.stem, ()):
            lines[place] = b" " * len(lines[place])
        (folder / "input" / path.name).write_bytes(b"\n".join(lines))
    target = folder / "pipeline.yaml"
    target.write_text(config_path.read_text().replace(str(config_path.parent), str(folder)))
    return target


@pytest.fixture(scope="module")
def removed(config_path: Path) -> tuple[Path, Any]:
    config = load(str(config_path))
    run(config, inline=True)
    done = remove(config, ["# asked for on Monday", *ids_of(config_path.parent)], "requests.txt", inline=True)
    return Path(config.output), done


def test_the_output_is_what_it_would_be_without_the_documents(removed: Any, config_path: Path, tmp_path: Path) -> None:
    never = load(str(blanked(config_path, tmp_path / "never")))
    run(never, inline=True)
    assert differences(tree(removed[0]), tree(Path(never.output))) == []
    assert verify(str(removed[0])) == []


def test_no_file_of_the_output_holds_a_removed_document_any_more(removed: Any, config_path: Path) -> None:
    output, _ = removed
    gone = {bytes.fromhex(each) for each in ids_of(config_path.parent)}
    line = (config_path.parent / "input" / "code.jsonl").read_text("utf-8").split("\n")[10]
    beginning = json.loads(line)["text"][:200]
    for path in output.rglob("*.parquet"):
        names = pq.read_schema(path).names
        for column in {"id", "cluster", "survivor"} & set(names):
            ids = pq.read_table(path, columns=[column]).column(column).to_pylist()
            assert gone.isdisjoint(bytes.fromhex(each) if isinstance(each, str) else each for each in ids if each), path
        for column in {"text", "preview"} & set(names):
            held = pq.read_table(path, columns=[column]).column(column).to_pylist()
            assert not any(text and text.startswith(beginning) for text in held), path
    store = Store(str(output))
    exchanged = [path for path in store.files("work") if path.endswith(".xch")]
    assert exchanged
    for path in exchanged:
        for _, table in receive(store, Incoming([path], 0, 1 << 62)):
            if "id" in table.column_names:
                assert gone.isdisjoint(table.column("id").to_pylist()), path


def test_only_what_depends_on_the_documents_was_computed(removed: Any) -> None:
    output, done = removed
    steps = {step["name"]: step for step in json.loads((output / "run.json").read_text())["steps"]}
    assert (done.new, done.removed) == (4, 4)
    assert done.files > 0
    for name in ("read", "rules", "exact_dedup.key", "near_dedup.key"):
        assert 0 < steps[name]["computed"] < steps[name]["tasks"], name
        assert steps[name]["computed"] + steps[name]["adopted"] == steps[name]["tasks"]


def test_a_later_run_does_not_bring_them_back(removed: Any, config_path: Path) -> None:
    output, _ = removed
    before = tree(output)
    result = run(load(str(config_path)), inline=True)
    assert differences(before, tree(output)) == []
    assert "4 documents are left out on request (removed.jsonl)" in result.record["notes"]
    assert sum(step["computed"] for step in result.record["steps"]) == 0


def test_a_line_that_is_no_request_is_said_and_nothing_is_changed(removed: Any, config_path: Path) -> None:
    output, _ = removed
    before = (output / PATH).read_bytes()
    sentence = "requests.txt, line 2: 'not an id' is neither an id of 32 hexadecimal digits nor a URL"
    with pytest.raises(ValueError, match=sentence):
        remove(load(str(config_path)), ["", "not an id", *ids_of(config_path.parent)], "requests.txt", inline=True)
    assert (output / PATH).read_bytes() == before


def test_what_the_output_does_not_know_is_passed_over_and_said(removed: Any, config_path: Path) -> None:
    output, _ = removed
    before = tree(output)
    asked = ["F" * 32, *map(str.upper, ids_of(config_path.parent)), "https://nowhere.example/"]
    done = remove(load(str(config_path)), asked, "requests.txt", inline=True)
    assert done.unknown == ("F" * 32, "https://nowhere.example/")
    assert (done.new, done.before, done.removed, done.computed) == (0, 4, 4, 0)
    assert differences(before, tree(output)) == []


def test_a_later_list_may_hold_an_earlier_one(tmp_path: Path) -> None:
    """By URL too, though the output holds no document of that URL any more; and by the other name of a document."""
    store = Store(str(tmp_path / "out"))
    pages = [(bytes([i] * 16), "web", "a.jsonl", f"https://mill.example/{i}") for i in range(4)]

    def holds(rows: list[tuple[bytes, str, str, str]]) -> None:
        columns = dict(zip(("id", "source", "path", "url"), map(list, zip(*rows, strict=True)), strict=True))
        (tmp_path / "out" / "signals").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / "out" / "signals" / "part-00000.parquet")

    holds(pages)
    by_url, by_id = "https://mill.example/1", "02" * 16
    first = request(store, [by_url, by_id], "requests.txt")
    assert (first.new, first.before, first.unknown) == (2, 0, ())
    holds(pages[:1])  # as after the run
    more = ["01" * 16, "https://mill.example/2", "https://mill.example/0"]
    later = request(store, [by_url, by_id, *more], "requests.txt")
    assert (later.new, later.before, later.unknown) == (1, 4, ())
    assert [each.id for each in later.removed] == ["00" * 16, "01" * 16, "02" * 16]


def test_a_list_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / PATH).write_text(json.dumps({"id": "ab" * 16, "source": "web", "path": "a.jsonl"}) + "\n")
    assert load_removed(Store(str(tmp_path))) == [Removed("ab" * 16, "web", "a.jsonl")]
