"""What the documentation says is so: links lead somewhere, commands exist, examples run, numbers are the code's."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
import yaml

from gristmill.pipeline.config.keys import load
from gristmill.stages.presets.rule import Rule
from gristmill.stages.presets.table import PRESETS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
OURS = {"gristmill": [], "pipeline": [], "tokenizer": ["tokenizer"], "trainer": ["train"]}
"""Program, or module after `python -m` -> where its commands stand below `gristmill`."""

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name in its first line, as in '# own.yaml'."""
        found = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return found[1] if found else None


def blocks(page: Path, language: str | None = None) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    return [Block(page.name, kind, text) for kind, text in found if language in (None, kind)]


def examples(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.stem}-{block.file or number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, language))
    ]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)


# -- links and commands ------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Of the headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@named
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            lost.append(target)
    assert lost == []


@named
def test_every_page_can_be_reached(page: Path) -> None:
    linked = {
        (other.parent / target.partition("#")[0]).resolve()
        for other in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(other))
    }
    assert page.name == "README.md" or page in linked


def commands(page: Path) -> list[list[str]]:
    """Command lines of ours on a page, in words; a module of ours after `python -m` counts as a program."""
    lines = [
        line for block in blocks(page) if not block.language for line in block.text.replace("\\\n", " ").split("\n")
    ]
    lines += re.findall(r"`([^`\n]+)`", prose(page))
    found = []
    for line in lines:
        for part in re.split(r" \| ", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            for at, word in enumerate(words):
                module = word == "-m" and words[at - 1] == "python" and words[at + 1 : at + 2]
                if (at == 0 and word == "gristmill") or (module and module[0] in OURS):
                    found.append(words[at + 1 :] if module else words)
    return found


@cache
def helped(path: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """(commands, options) that `gristmill PATH --help` lists."""
    from typer.main import get_command

    from gristmill.pipeline.cli import app

    command: Any = get_command(app)
    for name in path:
        command = command.get_command(None, name)
    below = command.list_commands(None) if hasattr(command, "list_commands") else []
    options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return frozenset(below), frozenset(options)


@named
def test_every_command_and_option_of_a_page_is_in_help(page: Path) -> None:
    for program, *words in commands(page):
        path = tuple(OURS[program])
        while words and helped(path)[0]:
            if words[0].startswith("-"):
                break
            assert words[0] in helped(path)[0], f"{page.name}: {program} {' '.join(words)}"
            path, words = (*path, words[0]), words[1:]
        for word in words:
            if re.match(r"--?[a-z]", word):
                option = word.partition("=")[0]
                assert option in helped(path)[1] | {"--help", "--debug"}, f"{page.name}: {option} of {' '.join(path)}"


@named
def test_every_target_of_make_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make (\w+)", page.read_text("utf-8"), re.M)) <= targets


def test_readme_has_a_place_for_the_demo() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.index("<!-- demo -->") < text.index("<!-- /demo -->")


def test_the_picture_stands_alone_in_light_and_dark() -> None:
    text = (ROOT / "docs" / "mill.svg").read_text("utf-8")
    tree = ElementTree.fromstring(text)
    assert {tag.rpartition("}")[2] for tag in (element.tag for element in tree.iter())} <= {
        *("svg", "title", "desc", "style", "rect", "g", "text", "path")
    }
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r"(?:href|url\(|@import)", text) == []


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", examples("python"))
def test_python_of_a_page_is_python(block: Block) -> None:
    ast.parse(block.text)


def write_modules(folder: Path) -> None:
    for block in blocks(ROOT / "docs" / "stages.md", "python"):
        (folder / str(block.file)).write_text(block.text)


def write_inputs(folder: Path, config: dict[str, Any]) -> None:
    """Something where the example's local sources are, and in place of the language model."""
    paths = [source["uri"] for source in config.get("sources", [])] + ["models/lid.176.ftz"]
    for path in [path for path in paths if ":" not in path]:
        file = folder / path.replace("*", "x")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.filterwarnings("ignore:rules. characters_per_token is not applied")
@pytest.mark.parametrize("block", examples("yaml"))
def test_configuration_of_a_page_loads(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(block.text)
    if block.page in ("training.md", "parallel.md"):
        from gristmill.trainer.config.keys import read_config

        base = yaml.safe_load((ROOT / "trainer" / "configs" / "debug.yaml").read_text())
        (tmp_path / "example.yaml").write_text(yaml.safe_dump({**base, **data}))
        read_config(tmp_path / "example.yaml")
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = block.text
    if "sources" not in data:
        text += "\nsources: [{name: pages, uri: data/pages.jsonl}]\n"
    write_modules(tmp_path)
    write_inputs(tmp_path, yaml.safe_load(text))
    (tmp_path / "example.yaml").write_text(text)
    load("example.yaml")


MILL = """The miller weighs the grain and writes what it weighs in the book. He opens the sluice, and the wheel begins
to turn with the water of the river. That which the stones have ground falls to the sack, to be sold in the town."""


def pages() -> list[dict[str, Any]]:
    """60 pages of 50 URLs; every tenth URL on spam.example; page 5 shouts. Lines are broken at a fixed width."""
    result = []
    for i in range(60):
        words = (MILL.split() * 2)[i % 40 :]
        end = "!!!" if i == 5 else ""
        lines = [" ".join([f"Page {i}:", *words[k : k + 9]]) + end for k in range(0, len(words), 9)]
        url = f"https://{'spam' if i % 10 == 0 else 'mill'}.example/{i % 50}"
        result.append({"id": f"p{i}", "text": "\n".join(lines), "url": url, "date": f"20{10 + i % 13}-03-01"})
    return result


def run_example(folder: Path, *options: str, config: str = "own.yaml") -> None:
    command = [sys.executable, "-m", "gristmill.pipeline", "run", config, *options]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of stages.md's examples after `gristmill run own.yaml`."""
    folder = tmp_path_factory.mktemp("example")
    write_modules(folder)
    for block in blocks(ROOT / "docs" / "stages.md", "yaml"):
        if block.file:
            (folder / block.file).write_text(block.text)
    (folder / "data").mkdir()
    (folder / "data" / "pages.jsonl").write_text("\n".join(map(json.dumps, pages())))
    run_example(folder, "--inline")
    return folder


def rows(pattern: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(pattern.parent.rglob(pattern.name)) for row in pq.read_table(path).to_pylist()]


def ledger(example: Path, rule: str) -> list[dict[str, Any]]:
    return [row for row in rows(example / "out-own" / "ledger" / "part-*.parquet") if row["rule"] == rule]


def funnel(example: Path) -> dict[str, dict[str, Any]]:
    return {entry["stage"]: entry for entry in json.loads((example / "out-own" / "run.json").read_text())["funnel"]}


@pytest.mark.slow
def test_a_stage_of_ones_own_drops_what_it_lists(example: Path) -> None:
    assert funnel(example)["blocked_hosts"]["dropped"] == len(ledger(example, "blocked_hosts.listed")) == 6


@pytest.mark.slow
def test_a_stage_of_ones_own_edits_text_and_is_counted(example: Path) -> None:
    curated = rows(example / "out-own" / "curated" / "*.parquet")
    assert curated
    assert all("\n" not in row["text"] for row in curated)
    assert funnel(example)["unwrap"]["kept"] == 60
    assert funnel(example)["unwrap"]["bytes_in"] == funnel(example)["unwrap"]["bytes_kept"]  # a space for a line end


@pytest.mark.slow
def test_a_signal_of_ones_own_is_stored_and_limited(example: Path) -> None:
    [shouting] = ledger(example, "own.exclamations")
    assert shouting["value"] > shouting["limit"] == 0.1
    signals = rows(example / "out-own" / "signals" / "*.parquet")
    stored = [(row["id"].hex(), row["exclamations_per_word"]) for row in signals]
    assert [entry for entry in stored if entry[1]] == [(shouting["id"], shouting["value"])]
    assert len(stored) == 54


@pytest.mark.slow
def test_a_corpus_stage_of_ones_own_keeps_the_newest_of_a_url(example: Path) -> None:
    """Pages i and i + 50 share a URL; those that are blocked or shout are gone by then."""
    alive = [p for i, p in enumerate(pages()) if i % 10 and i != 5]
    newest: dict[str, dict[str, Any]] = {}
    for page in alive:
        if page["url"] not in newest or page["date"] > newest[page["url"]]["date"]:
            newest[page["url"]] = page
    kept = {row["own_id"] for row in rows(example / "out-own" / "curated" / "*.parquet")}
    assert kept == {page["id"] for page in newest.values()}
    assert len(ledger(example, "newest_of_url.older")) == len(alive) - len(newest) > 5


@pytest.mark.slow
def test_a_reader_and_a_blend_method_of_ones_own_run_from_files_to_shards(example: Path) -> None:
    """Three files, one of them compressed and cut short: what stands before the damage is read."""
    sayings = [f"{number}. {MILL}" for number in range(40)]
    (example / "sayings").mkdir()
    (example / "sayings" / "one").write_text("\n%\n".join(sayings[:20]) + "\n%\n")
    (example / "sayings" / "two").write_bytes(gzip.compress("\n%\n".join(sayings[20:]).encode()))
    others = "\n%\n".join(f"cut {saying}" for saying in sayings)
    (example / "sayings" / "cut").write_bytes(gzip.compress(others.encode())[:-30])
    run_example(example, "--inline", config="own_ends.yaml")
    curated = rows(example / "out-ends" / "curated" / "*.parquet")
    read = [row for row in curated if row["source"] == "sayings" and row["path"] != "cut"]
    assert {row["text"] for row in read} == set(sayings)
    assert {row["record"] for row in read if row["path"] == "one"} >= {0, len(sayings[0]) + 3}
    [broken] = [row for row in rows(example / "out-ends" / "ledger" / "part-*.parquet") if row["path"] == "cut"]
    assert (broken["action"], broken["rule"]) == ("quarantined", "read.truncated")
    record = json.loads((example / "out-ends" / "run.json").read_text())
    assert record["inputs"]["skipped"]["sayings.empty"] == 1
    units = {unit["source"]: unit["tokens"] for unit in record["blends"]["pretrain"]["units"]}
    assert set(units) == {"sayings", "pages"}


@pytest.mark.slow
def test_stages_of_ones_own_run_on_ray_workers_to_the_same_bytes(
    example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run_example(example, "--workers", "2", "--output", "out-ray")
    for folder in ("curated", "signals", "ledger", "tokenizer", "shards"):
        one, other = (example / out / "manifests" for out in ("out-own", "out-ray"))
        for listed in sorted([one / f"{folder}.json", *(one / folder).rglob("*.json")]):
            if listed.exists():
                assert listed.read_bytes() == (other / listed.relative_to(one)).read_bytes()


@pytest.mark.slow
def test_the_look_of_the_quick_start_looks_at_an_output(example: Path) -> None:
    [look] = [block for block in blocks(ROOT / "docs" / "quick-start.md", "python") if block.file == "look.py"]
    (example / "look.py").write_text(look.text.replace('"out/', '"out-own/'))
    result = subprocess.run([sys.executable, "look.py"], cwd=example, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "'language': 'en'" in result.stdout
    assert "newest_of_url.older" in result.stdout


# -- numbers -----------------------------------------------------------------------------------------------------------


def limit_text(rule: Rule) -> str:
    low, high = (None if v is None else f"{v:,.12g}" if v >= 1000 else f"{v:g}" for v in (rule.minimum, rule.maximum))
    limits = f"{low} to {high}" if low and high else f"≥ {low}" if low else f"≤ {high}"
    return f"{rule.signal} {limits}{' (en)' if rule.languages else ''}"


def test_the_recipe_lists_the_rules_as_they_are() -> None:
    text = (ROOT / "docs" / "recipe.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.M)
    listed = {preset: limits for preset, limits in rows if preset in PRESETS}
    assert listed.keys() >= {"gopher_quality", "gopher_repetition", "nemotron", "code", "fineweb"}
    for preset, limits in listed.items():
        assert limits.split(" · ") == [limit_text(rule) for rule in PRESETS[preset]]


def test_the_recipe_has_the_probabilities_of_the_formula() -> None:
    text = (ROOT / "docs" / "recipe.md").read_text("utf-8")
    for bands, per_band in ((20, 13), (14, 8)):
        [row] = re.findall(rf"^\| {bands} × {per_band} \| (.*) \|$", text, re.M)
        expected = [1 - (1 - j**per_band) ** bands for j in (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)]
        assert row.split(" | ") == [f"{p:.3f}" for p in expected]


def test_the_recipe_has_the_counts_of_the_model() -> None:
    from gristmill.trainer.model.shape import PRESETS as SHAPES
    from gristmill.trainer.model.shape import flops_per_token, parameters

    text = (ROOT / "docs" / "recipe.md").read_text("utf-8")
    shape = SHAPES["nemotron4_15b"]
    sizes = f"{shape.layers} / {shape.hidden:,} / {shape.heads} / {shape.kv_heads} / {shape.head_dim}"
    for figure in (sizes, f"width {shape.ffn:,}", f"{parameters(shape):,}", f"{flops_per_token(shape):,}"):
        assert f" {figure} " in text


def test_the_tables_are_what_the_code_and_the_results_say() -> None:
    """Every rule, line rule and signal, and what was measured beside the peers."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "docs/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
