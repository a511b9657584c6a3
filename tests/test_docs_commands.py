"""Every command in README and docs is run as it is written, or says in the source why not.

A page's fenced blocks without a language are commands. The lines of one page run in order, in a folder of its own that
holds a small finished run in `out` and what the pages name beside it. A line of the source just above a block,

    <!-- not run: REASON -->            or            <!-- not run "ray job submit" "make": REASON -->

leaves out the whole block, or the lines that begin so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = (
    "gristmill",
    "python",
    "torchrun",
    "ray",
    "make",
    "pip",
    "apt-get",
    "source",
    "echo",
    "srun",
    "sbatch",
    "curl",
)
"""A line of a block that begins with none of these shows a file, a folder or an output, and is no command."""
TIMEOUT_S = 300


@dataclass(frozen=True)
class Command:
    page: str
    line: str
    reason: str | None
    """Why it is not run."""


MARK = re.compile(r'<!-- not run((?: "[^"]+")*): (.+) -->')


def commands(page: Path) -> Iterator[Command]:
    """In order; a line that ends in a backslash goes on in the next."""
    mark, fence, held = None, None, ""
    for line in page.read_text("utf-8").split("\n"):
        if fence is None:
            if line.startswith("```"):
                fence = line
            else:
                mark = MARK.fullmatch(line)
        elif line == "```":
            mark = fence = None
        elif fence == "```":
            if line.endswith("\\"):
                held += line[:-1]
                continue
            line, held = held + line, ""
            if line.split(" ")[0] in PROGRAMS:
                begins = tuple(re.findall(r'"([^"]+)"', mark[1])) if mark else ()
                left_out = mark and (not begins or line.startswith(begins))
                yield Command(page.name, line, mark[2] if mark and left_out else None)


def test_a_reason_is_given_for_a_whole_block_or_for_lines_that_begin_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "One.\n\n```\nmake demo\n  out/\ngristmill run \\\n  a.yaml\n```\n```yaml\nmake: x\n```\necho prose\n"
        '<!-- not run "ray job": no cluster -->\n```\nray job submit x\ngristmill plan\n```\n'
        "<!-- not run: costs -->\n```\npip install x\n```\n"
    )
    assert [(c.line, c.reason) for c in commands(page)] == [
        ("make demo", None),
        ("gristmill run   a.yaml", None),
        ("ray job submit x", "no cluster"),
        ("gristmill plan", None),
        ("pip install x", "costs"),
    ]


def test_only_what_needs_another_machine_or_minutes_is_left_out() -> None:
    """Most commands are run: a reason is an exception."""
    every = [command for page in PAGES for command in commands(page)]
    left_out = [command for command in every if command.reason]
    assert len(left_out) < len(every) / 2
    assert all(len(command.reason or "") > 12 for command in left_out)


@pytest.fixture(scope="session")
def workshop(made_once: Any, language_model: Path) -> Path:
    """A folder after `gristmill run pipeline.yaml` and a short training run, with the files that pages name."""
    return made_once("docs-workshop", lambda folder: furnish(folder, language_model))


def furnish(folder: Path, model: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "pipeline"))
    try:
        from small_run import small_configuration
    finally:
        sys.path.pop(0)
    config = small_configuration(folder, model)
    data = yaml.safe_load(config.read_text())
    data["output"] = "out"
    for source in data["sources"]:
        source["uri"] = Path(source["uri"]).name
    (folder / "models").mkdir()
    shutil.copy(model, folder / "models")
    del next(stage["language"] for stage in data["stages"] if "language" in stage)["model"]
    config.write_text(yaml.safe_dump(data, sort_keys=False))
    prose = folder / "prose.jsonl"
    rows = [json.loads(line) for line in prose.read_text("utf-8").splitlines()]
    rows[0]["url"] = "https://example.org/page"
    prose.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    run(folder, "gristmill run pipeline.yaml --inline")
    debug = yaml.safe_load((ROOT / "trainer" / "configs" / "debug.yaml").read_text())
    debug["phases"][0] |= {"tokens": 6_000, "batch_ramp": [{"sequences": 2}]}
    debug["phases"][0]["learning_rate"]["warmup_tokens"] = 1_000
    debug["checkpoint"]["every_tokens"] = 3_000
    debug["model"]["overrides"]["context"] = 512  # the answers of `evaluate --tasks` have room in it
    debug["data"] = {"max_epochs": 100}
    (folder / "trainer" / "configs").mkdir(parents=True)
    (folder / "trainer" / "configs" / "debug.yaml").write_text(yaml.safe_dump(debug))
    (folder / "my.yaml").write_text(yaml.safe_dump(debug))
    run(folder, "gristmill train run trainer/configs/debug.yaml")
    (folder / "requests.txt").write_text(f"{rows[1].get('id', '')}\n")
    junk = "\n".join(json.dumps({"text": f"buy now click here {i} {'!' * (i % 9)} free free win"}) for i in range(400))
    (folder / "crawl.jsonl.zst").write_bytes(zstandard.compress(f"{junk}\n{prose.read_text('utf-8')}".encode()))
    own_data(folder / "data", rows)
    question = {"text": "The colour of flour is", "choices": ["white", "blue"], "gold": 0, "benchmark": "arc_easy"}
    number = {"text": "Two and two are", "answer": "2 + 2 = 4\n#### 4", "benchmark": "gsm8k"}
    tasks = "\n".join(
        json.dumps(task | {"split": split}) for task in (question, number) for split in ("train",) * 8 + ("test",)
    )
    (folder / "benchmarks.jsonl.zst").write_bytes(zstandard.compress(tasks.encode()))
    (folder / "data").mkdir(exist_ok=True)
    for name in ("prose", "code"):
        shutil.copy(folder / f"{name}.jsonl", folder / "data")
    paragraphs = "".join(f"<p>{row['text']}</p>" for row in rows[:3])
    (folder / "page.html").write_text(f"<html><body><article>{paragraphs}</article></body></html>")


def own_data(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Records as a crawler might leave them, a folder of source code, and a picture."""
    (folder / "crawl").mkdir(parents=True)
    records = [
        {
            "doc_id": f"d{i}",
            "content": row["text"],
            "created": f"2020-01-{i % 28 + 1:02}",
            "metadata": {"url": row["url"]},
        }
        for i, row in enumerate(rows)
    ]
    (folder / "crawl" / "part-0.jsonl").write_text("\n".join(map(json.dumps, records)))
    shutil.copytree(ROOT / "tokenizer", folder / "repositories" / "mill", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "repositories" / "mill" / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))


def run(folder: Path, line: str) -> None:
    scripts = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": scripts, "RAY_AUTH_MODE": "disabled", "OMP_WAIT_POLICY": "passive"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_as_written(page: Path, workshop: Path, tmp_path: Path) -> None:
    mine = [command for command in commands(page) if command.reason is None]
    if not mine:
        pytest.skip("no command of this page is to be run")
    folder = shutil.copytree(workshop, tmp_path / "here")
    for command in mine:
        run(folder, command.line)
