"""One import package: `gristmill` is all that is loaded, whatever is called and wherever it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from small_run import small_configuration

ROOT = Path(__file__).parents[1]
LINKED = ("pipeline", "stages", "tokenizer", "trainer", "kernels")
TWICE = """
import os, runpy, sys
sys.argv = {argv}
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
files = {{}}
for name, module in sorted(sys.modules.items()):
    path = getattr(module, "__file__", None)
    if path and os.path.realpath(path).startswith({root!r}) and ".venv" not in path:
        files.setdefault(os.path.realpath(path), []).append(name)
print([names for names in files.values() if len(names) > 1])
"""


def python(code: str, *path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment)


def modules() -> list[Path]:
    """Every Python file below `gristmill`, links followed."""
    found = [
        Path(folder) / name for folder, _, names in os.walk(ROOT / "gristmill", followlinks=True) for name in names
    ]
    return [path for path in found if path.suffix == ".py"]


def test_the_folders_are_links() -> None:
    for name in LINKED:
        assert os.readlink(ROOT / "gristmill" / name) == f"../{name}"


@pytest.mark.slow
def test_mypy_sees_every_file() -> None:
    result = subprocess.run([Path(sys.executable).parent / "mypy", "-v"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    seen = {Path(path).resolve() for path in re.findall(r"Found source: .*path='([^']*\.py)'", result.stderr)}
    assert seen == {path.resolve() for path in modules()}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("pipeline", ["rules"]), ("tokenizer", ["--help"]), ("trainer", ["plan", "debug"]), ("gristmill", ["rules"])],
)
def test_no_module_is_loaded_under_two_names(module: str, arguments: list[str]) -> None:
    """`python -m pipeline` loads `pipeline/__init__.py` by its bare name too, which only refuses what is below it."""
    code = TWICE.format(argv=[module, *arguments], module=module, root=str(ROOT) + os.sep)
    result = python(code)
    assert result.returncode == 0, result.stderr
    [line] = [line for line in result.stdout.splitlines() if line.startswith("[[") or line == "[]"]
    assert line in ("[]", f"[['gristmill.{module}', '{module}']]")


@pytest.mark.parametrize(
    "statement", ["import stages.interface", "from trainer import model", "from kernels.gpu import rope"]
)
def test_an_old_import_is_one_sentence(statement: str) -> None:
    result = python(statement)
    last = result.stderr.splitlines()[-1]
    assert re.match(r"ImportError: (\S+) is now gristmill\.\1; write `gristmill\.\1` in its place$", last)


@pytest.mark.parametrize("code", ["import stages.interface", "from stages.interface import Stage"])
def test_an_old_import_in_a_users_stage_is_one_sentence(code: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"{code}\n", "utf-8")
    command = "from gristmill.stages.registry import load; load('mine:Mine')"
    result = python(command, ROOT, cwd=tmp_path)
    assert "in mine, stages.interface is now gristmill.stages.interface" in result.stderr.splitlines()[-1]


def test_an_old_name_in_a_configuration_is_one_sentence(tmp_path: Path) -> None:
    result = python("from gristmill.stages.registry import load; load('stages.lines:Lines')", ROOT, cwd=tmp_path)
    assert result.stderr.splitlines()[-1].endswith("write `gristmill.stages.lines` in its place")


@pytest.mark.parametrize("first", ["checkout", "site"])
def test_hugging_faces_kernels_works_beside(first: str, tmp_path: Path) -> None:
    """A package of that name on the path is what `import kernels` finds, from the checkout too."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("from kernels.layer import HUB\n", "utf-8")
    (tmp_path / "kernels" / "layer.py").write_text("HUB = 'hf'\n", "utf-8")
    path = [ROOT, tmp_path] if first == "checkout" else [tmp_path, ROOT]
    result = python(
        "import kernels; from gristmill.kernels.gpu import registry; print(kernels.HUB)", *path, cwd=tmp_path
    )
    assert result.stdout == "hf\n", result.stderr


def test_the_package_alone_loads_nothing_heavy() -> None:
    heavy = ("numpy", "pyarrow", "torch", "ray", "numba", "yaml", "pydantic")
    result = python(f"import gristmill, sys; print([name for name in {heavy} if name in sys.modules])")
    assert result.stdout == "[]\n", result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of the tracked files alone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout: no list of the project's files")
    listed = [name for name in files.stdout.splitlines() if os.path.lexists(ROOT / name)]
    subprocess.run(
        ["tar", "-cf", folder / "source.tar", "-T", "-"], cwd=ROOT, input="\n".join(listed), text=True, check=True
    )
    subprocess.run(["tar", "-xf", folder / "source.tar", "-C", source], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True, capture_output=True, text=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_gristmill_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"gristmill"}
    wanted = {str(path.relative_to(ROOT)) for path in modules()}
    assert wanted <= set(names)
    assert {"gristmill/py.typed", "gristmill/pipeline.yaml", "gristmill/trainer/configs/debug.yaml"} <= set(names)


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path, language_model: Path) -> None:
    """In an environment of its own: its version, a whole small run, a plan of the trainer."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    [site] = (environment / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"), "utf-8")  # what gristmill needs, not gristmill
    install = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q", "--no-deps"]
    subprocess.run([*install, "--no-index", wheel], check=True)
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"gristmill", "libraries.pth"}
    config = small_configuration(tmp_path, language_model)

    def gristmill(*arguments: str) -> str:
        command = [environment / "bin" / "gristmill", *arguments]
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=outside)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert gristmill("--version").startswith("gristmill ")
    assert "blend pretrain" in gristmill("run", str(config), "--inline")
    assert gristmill("verify", str(tmp_path / "out"))
    assert "tokens" in gristmill("train", "plan", "debug")
