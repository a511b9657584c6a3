"""What holds for the whole house: imports run one way, linters and types are clean, a file has one subject."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gristmill.extras import EXTRAS

ROOT = Path(__file__).parents[1]
LINKED = ("pipeline", "stages", "tokenizer", "trainer", "kernels")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "base_utils"}


@cache
def project_files() -> tuple[Path, ...]:
    """Tracked files, and those about to be."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout: no list of the project's files")
    return tuple(ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file())


def python_files() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".py"]


def passes(*command: str) -> None:
    tool, *rest = command
    result = subprocess.run([str(Path(sys.executable).parent / tool), *rest], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


@pytest.mark.slow
def test_imports_run_one_way() -> None:
    passes("lint-imports", "--no-cache")


def test_ruff_finds_nothing() -> None:
    passes("ruff", "check", ".")


def test_every_file_is_formatted() -> None:
    passes("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types_are_right() -> None:
    passes("mypy")


def test_no_file_imports_itself_by_a_circle() -> None:
    """Imports in functions count, and a package's `__init__`, which is loaded before what is in it."""
    graph = import_graph()
    order = TopologicalSorter(graph)
    try:
        order.prepare()
    except CycleError as error:
        raise AssertionError(f"imports run in a circle: {' -> '.join(error.args[1])}") from None
    assert len(graph) > 400


def import_graph() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, at its top or within a function; not those for types alone."""
    paths = {
        ".".join(["gristmill", *path.relative_to(ROOT).with_suffix("").parts]): path
        for path in python_files()
        if path.relative_to(ROOT).parts[0] in (*LINKED, "gristmill")
    }
    paths = {
        name.replace("gristmill.gristmill", "gristmill").removesuffix(".__init__"): at for name, at in paths.items()
    }
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        module = ast.parse(path.read_text("utf-8"))
        types_alone = {
            id(node)
            for block in ast.walk(module)
            if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
            for statement in block.body
            for node in ast.walk(statement)
        }
        wanted: set[str] = set()
        for node in ast.walk(module):
            if id(node) in types_alone:
                continue
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names} & paths.keys()
                wanted |= below or {node.module}
        wanted |= {parent for other in wanted if (parent := other.rpartition(".")[0]) in paths}
        graph[name] = {other for other in wanted if other in paths and not f"{name}.".startswith(f"{other}.")}
    return graph


def test_names_name_something() -> None:
    parts = [part for path in python_files() for part in path.relative_to(ROOT).with_suffix("").parts]
    assert not VAGUE & set(parts)


@pytest.mark.slow
def test_every_module_says_what_it_is() -> None:
    modules = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in python_files()}
    silent = [name for name, module in modules.items() if module.body and not ast.get_docstring(module)]
    assert not silent, "no opening docstring"


def test_files_name_no_machine_of_ours() -> None:
    """Neither this checkout's place nor a person's home stands in what others will read."""
    places = [re.escape(str(ROOT)) + r"\b", r"/(?:home|Users)/[a-z]\w*/"]
    if len(Path.home().parts) > 1:
        places.append(rf"(?<![\w./:-]){re.escape(str(Path.home()))}/")
    named = {
        (str(path.relative_to(ROOT)), found[0])
        for path in project_files()
        if path != Path(__file__) and (found := re.search("|".join(places), path.read_text("utf-8", "replace")))
    }
    assert not named


def locked() -> dict[str, str]:
    """Package -> version, of all lock files; every one of them has hashes."""
    found = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for block in re.findall(r"^[^#\s].*(?:\n {4}.*)*", path.read_text("utf-8"), re.M):
            first, *hashes = block.replace("\\\n", "\n").split()
            name, version = first.split("==")
            assert name not in found, f"{name} is locked twice"
            assert hashes, f"{path.name}: {name} has no hash"
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes), path.name
            found[name] = version
    return found


def test_every_dependency_is_pinned() -> None:
    """In the lock with hashes, within the range that pyproject.toml gives it; a range has two ends."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras, versions = project["optional-dependencies"], locked()
    lost = []
    for extra, texts in {"": project["dependencies"], **extras}.items():
        for requirement in map(Requirement, texts):
            name = canonicalize_name(requirement.name)
            if name == "gristmill":
                assert requirement.extras <= extras.keys(), extra
                continue
            operators = {specifier.operator for specifier in requirement.specifier}
            assert operators == {">=", "<"}, f"{requirement}: give the range a lower and an upper end"
            if extra != "eval" and not requirement.specifier.contains(versions.get(name, "0")):
                lost.append(f"{requirement}: locked is {versions.get(name)}; run `make lock`")
    assert lost == []


def test_the_base_has_no_compiler_and_no_torch_in_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    assert not base & {canonicalize_name(package) for package in EXTRAS}
    for package, extra in EXTRAS.items():
        names = {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"][extra]}
        assert canonicalize_name(package) in names, f"the extra {extra} does not bring {package}"


def test_lock_files_name_no_registry() -> None:
    option = re.compile(r"(?m)^\s*(?:--(?:index-url|extra-index-url|find-links|trusted-host)|-[if]) .*|.*://.*")
    found = {path.name: option.findall(path.read_text()) for path in (ROOT / "requirements").glob("*.txt")}
    assert len(found) == 5
    named = {name: lines for name, lines in found.items() if lines}
    assert named == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "missing"), [("PYTHON=/nowhere/python", "Python 3.11"), ("CXX=/nowhere/g++", "C++ compiler")]
)
def test_make_says_in_one_sentence_what_the_machine_lacks(variable: str, missing: str, tmp_path: Path) -> None:
    """Without a Python that is an error; without a compiler it goes on, to all but the reference engines."""
    python = fake_python(tmp_path, sys.version_info[:2])
    result, installed = make_env(tmp_path, dict([f"PYTHON={python}".split("="), variable.split("=")]))
    [sentence] = [
        line for line in result.stderr.splitlines() if not line.startswith("make: ***") and "lock" not in line
    ]
    assert missing in sentence
    if "PYTHON" in variable:
        assert result.returncode == 2
        assert not (tmp_path / ".venv").exists()
    else:
        assert result.returncode == 0
        assert installed
        assert not [call for call in installed if "reference" in call or "fasttext" in call]


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
@pytest.mark.parametrize("target", ["env", "check"])
def test_make_installs_from_the_lock_where_it_fits(version: tuple[int, int], target: str, tmp_path: Path) -> None:
    """With hashes and nothing for developers in the demo's environment; elsewhere from the ranges, in one line."""
    result, installed = make_env(tmp_path, {"PYTHON": str(fake_python(tmp_path, version))}, target)
    dev = target == "check"
    if version == (3, 11) and sysconfig.get_platform() == "linux-x86_64":
        assert result.stderr == ""
        first, *_, last = installed
        assert first.endswith(" ".join(f"-r requirements/{name}.txt" for name in ("run", *["dev"] * dev, "build")))
        assert "--require-hashes" in first
        assert "--require-hashes --no-build-isolation -r requirements/reference.txt" in installed[1]
        assert [call for call in installed if call.endswith("--find-links .venv/torch -r requirements/torch.txt")]
        assert last.endswith("--no-deps --no-build-isolation -e .")
    else:
        assert "pip takes the newest versions in the ranges" in result.stderr
        assert installed == [f"-m pip install -e .[{'dev' if dev else 'gpu,hub,trafilatura'},reference]"]


def fake_python(folder: Path, version: tuple[int, int]) -> Path:
    """A Python of that version whose environments write down in `calls` what they are asked, and install nothing."""
    path = folder / "python"
    inside = f'#!/bin/sh\necho "$@" >> {folder}/calls\n'
    path.write_text(
        f"""#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p "$3/bin" && for name in python ruff mypy lint-imports; do
    printf '%s' '{inside}' > "$3/bin/$name" && chmod +x "$3/bin/$name"; done ;;
*) case "$2" in
    *version_info\\[:2\\]*) {sys.executable} -c "import sys; sys.version_info = {(*version, 0, "final", 0)}; $2" ;;
    *Python.h*) ;;
    *) exec {sys.executable} "$@" ;;
    esac ;;
esac
"""
    )
    path.chmod(0o755)
    return path


def make_env(
    folder: Path, variables: dict[str, str], target: str = "env"
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What `make` said in a copy of the checkout's environment files, and the calls of pip that it made."""
    if shutil.which("make") is None or shutil.which("g++") is None:
        pytest.skip("make or g++ is not installed")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    command = ["make", target]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**inherited, **variables})
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return result, [line for line in lines if line.startswith("-m pip install")]
