"""The report in a browser: it fetches nothing, says nothing, overflows nowhere; search and choice do what they say."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from report_output import Document, make, metrics, shown_as

from gristmill.pipeline.views.report.data import gather
from gristmill.pipeline.views.report.write import write
from gristmill.storage.store import Store


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("report") / "out", full=True)
    metrics(folder / "train" / "metrics.jsonl", 3000)
    return Path(write(str(folder)))


def chromium(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """(DOM after scripts ran, what the browser logged). Skips where no Chromium is installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium: the page is not rendered")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder}", "--enable-logging=stderr", "--virtual-time-budget=3000", *options]
    with subprocess.Popen(
        [*command, "--dump-dom", page.as_uri()], stdout=-1, stderr=-1, start_new_session=True
    ) as process:
        try:
            dom, log = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.skip("chromium did not answer within a minute")
    if not dom:
        pytest.skip(f"chromium cannot run here: {log.decode('utf-8', 'replace')[-200:]}")
    return dom.decode("utf-8", "replace"), log.decode("utf-8", "replace")


def said(log: str) -> Sequence[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def driven(page: Path, folder: Path, script: str, *options: str) -> Any:
    """What `script` leaves in `result`, run in the page; its policy gets this script's hash beside the page's own."""
    code = f'"use strict"; const result = {{}}; {script}; document.body.dataset.result = JSON.stringify(result);'
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    text = page.read_text("utf-8").replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    folder.mkdir()
    (folder / "driven.html").write_text(text.replace("</body>", f"<script>{code}</script></body>"), "utf-8")
    dom, log = chromium(folder / "driven.html", folder / "profile", *options)
    assert said(log) == []
    (body,) = Document(dom).named("body")
    return json.loads(body["data-result"] or "null")


def test_a_browser_renders_it_without_a_word_and_runs_its_script(full: Path, tmp_path: Path) -> None:
    dom, log = chromium(full, tmp_path / "profile", "--window-size=390,844")
    assert said(log) == []
    (controls,) = (a for a in Document(dom).named("div") if a.get("class") == "controls")
    assert "hidden" not in controls  # only the script shows them


def test_in_a_browser_nothing_is_fetched_and_nothing_overflows(full: Path, tmp_path: Path) -> None:
    script = """
      for (const fold of document.querySelectorAll("details")) fold.open = true;
      result.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
      result.over = document.documentElement.scrollWidth - document.documentElement.clientWidth"""
    for width in (390, 1280):
        found = driven(full, tmp_path / str(width), script, f"--window-size={width},900")
        assert found == {"fetched": [], "over": 0}


def test_the_search_shows_what_has_all_words_and_the_chosen_rule(full: Path, tmp_path: Path) -> None:
    script = """
      const [input] = document.querySelectorAll(".search input");
      const shown = () => [...document.querySelectorAll(".found:not([hidden])")]
        .filter((row) => row.checkVisibility()).map((row) => row.querySelector("blockquote").textContent);
      const search = (words) => { input.value = words; input.dispatchEvent(new Event("input", { bubbles: true })); };
      const rule = document.querySelector(".search select[data-key=rule]");
      result.closed = shown().length;
      search("onload alert 0.3"); result.some = shown();
      result.said = document.querySelector(".search output").textContent;
      search("no such words"); result.none = shown();
      search(""); result.again = shown().length;
      rule.value = "gopher_repetition.duplicate_lines"; search("مرحبا"); result.ruled = shown()"""
    found = driven(full, tmp_path / "page", script)
    run = gather(Store(str(full.parents[1])))
    texts = [row["preview"] for r in (*run.removals, *run.edits) for row in r.previews]
    expected = sorted(shown_as(text) for text in texts if "0.3" in text)
    assert sorted(found["some"]) == expected
    assert expected
    assert found["said"].startswith(f"{len(expected)} of ")
    assert found["none"] == []
    assert found["closed"] == found["again"] == 0
    (lines,) = [r.previews for r in run.removals if r.rule == "gopher_repetition.duplicate_lines"]
    assert found["ruled"] == [shown_as(row["preview"]) for row in lines]


def test_a_chosen_language_changes_the_distributions_and_their_limits(full: Path, tmp_path: Path) -> None:
    script = """
      const texts = (nodes) => [...nodes].map((node) => node.textContent);
      const state = () => Object.fromEntries([...document.querySelectorAll(".signal")].map((card) => [
        card.querySelector("b").textContent,
        { svg: card.querySelector(".plot").innerHTML, cut: texts(card.querySelectorAll(".out")) },
      ]));
      const select = document.querySelector(".choice select");
      for (const fold of document.querySelectorAll("details")) fold.open = true;
      const buttons = [...document.querySelectorAll(".choice button")];
      const press = (name) => buttons.find((button) => button.textContent === name).click();
      press("all documents"); result.all = state();
      select.value = [...select.options].find((option) => option.textContent.startsWith("German")).value;
      select.dispatchEvent(new Event("change")); result.german = state();
      result.said = document.querySelector(".choice output").textContent;
      press("code"); result.code = state();
      press("all documents"); result.again = state()"""
    found = driven(full, tmp_path / "page", script)
    tables = [pq.read_table(full.parents[1] / f"signals/part-{i:05d}.parquet") for i in range(2)]
    german = [row for table in tables for row in table.to_pylist() if row["language"] == "de"]
    assert found["said"].startswith(f"{len(german)} documents")
    below, above = (sum(row["words"] < 50 for row in german), sum(row["words"] > 100_000 for row in german))
    cut = found["german"]["words"]["cut"][0].replace("\u00a0", " ")
    assert cut == f"{100 * below / len(german):.1f} % below, {100 * above / len(german):.1f} % above"
    assert found["code"]["words"]["cut"] == ["not applied"]
    assert "limit" not in found["code"]["words"]["svg"]
    assert found["again"] == found["all"]
    for name in ("words", "urls", "mine_<i>"):
        assert "<rect" in found["german"][name]["svg"]
        assert found["german"][name]["svg"] != found["all"][name]["svg"]


def test_a_script_that_slipped_in_would_be_refused(full: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    planted.write_text(full.read_text("utf-8").replace("<footer>", "<footer><script>document.title='taken'</script>"))
    dom, log = chromium(planted, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in said(log))
    assert "<title>taken</title>" not in dom
