"""A run that is killed at any moment and started again: the same bytes, and no committed task computed twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attack import COMMIT, OPERATION, TIME, Chain, Kill, Nursery, lay_out_small
from corpus import differences, tree

from gristmill.pipeline.engine.commit import Output, StepFolder, open_work
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import Role
from gristmill.pipeline.engine.publish import publish
from gristmill.pipeline.engine.task import Step, Task, Work, execute
from gristmill.pipeline.upkeep.verify import verify
from gristmill.storage.store import Store

pytestmark = pytest.mark.slow

SEED = 20240226  # arXiv 2402.16819 appeared that day


@pytest.fixture(scope="module")
def nursery(
    shared_data: Path, language_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Nursery, Path]]:
    folder = tmp_path_factory.mktemp("kills")
    with Nursery(lay_out_small(shared_data, folder, language_model), folder / "undisturbed") as ready:
        yield ready, folder / "undisturbed"


def ends_as(undisturbed: Path, chain: Chain) -> None:
    assert not chain.attempt(None).killed
    assert differences(tree(chain.output), tree(undisturbed)) == []
    assert verify(str(chain.output)) == []


def test_killed_after_two_commits_of_every_step_it_ends_in_the_same_bytes(nursery: Any, tmp_path: Path) -> None:
    ready, undisturbed = nursery
    draw = random.Random(SEED)
    commits: dict[str, list[int]] = {}
    for number, (step, _) in enumerate(ready.whole.tasks, start=1):
        commits.setdefault(step, []).append(number)
    points = sorted(k for numbers in commits.values() for k in draw.sample(numbers, min(2, len(numbers))))
    assert len(points) >= 50
    chain = Chain(ready, tmp_path / "out", {})
    killed_in = set()
    for before, point in zip([0, *points], points, strict=False):
        attempt = chain.attempt(Kill(COMMIT, point - before))
        assert attempt.killed
        killed_in.add(attempt.step)
    assert killed_in == commits.keys()
    ends_as(undisturbed, chain)
    assert chain.committed.keys() == set(ready.whole.tasks)


@pytest.mark.parametrize("share", [0.03, 0.45, 0.95])
def test_one_kill_and_one_rerun_do_each_task_once(nursery: Any, tmp_path: Path, share: float) -> None:
    ready, undisturbed = nursery
    chain = Chain(ready, tmp_path / "out", {})
    first = chain.attempt(Kill(COMMIT, int(share * len(ready.whole.tasks))))
    second = chain.attempt(None)
    assert first.killed
    assert not second.killed
    assert first.tasks + second.tasks == ready.whole.tasks
    assert differences(tree(chain.output), tree(undisturbed)) == []


def test_killed_within_writes_and_before_renames_it_ends_in_the_same_bytes(nursery: Any, tmp_path: Path) -> None:
    ready, undisturbed = nursery
    draw = random.Random(SEED)
    chain = Chain(ready, tmp_path / "out", {})
    killed_in: list[str] = []
    while len(killed_in) < 200:
        attempt = chain.attempt(Kill(OPERATION, draw.randint(1, ready.whole.operations // 12)))
        if not attempt.killed:
            break
        killed_in.append(attempt.step)
    assert len(killed_in) > 20
    assert len(set(killed_in)) > 8
    ends_as(undisturbed, chain)


def test_killed_while_it_takes_a_dead_runs_lease_over_it_is_not_in_the_way_of_the_next(
    nursery: Any, tmp_path: Path
) -> None:
    ready, _ = nursery
    chain = Chain(ready, tmp_path / "out", {})
    for kill in [Kill(COMMIT, 1), *(Kill(OPERATION, at) for at in range(1, 16)), Kill(COMMIT, 1)]:
        assert chain.attempt(kill).killed


def test_killed_by_the_clock_it_ends_in_the_same_bytes(nursery: Any, tmp_path: Path) -> None:
    ready, undisturbed = nursery
    draw = random.Random(SEED)
    chain = Chain(ready, tmp_path / "out", {})
    for _ in range(8):
        chain.attempt(Kill(TIME, draw.randint(50, 400)))
    ends_as(undisturbed, chain)


MEANWHILE: list[Callable[[], None]] = []
"""What happens while the next task is half-way through its file."""


def write_slowly(task: Task[int, None]) -> None:
    with task.output.open(Role.DOCUMENTS, ".txt") as file:
        file.write(b"first half, ")
        if MEANWHILE:
            MEANWHILE.pop()()
        file.write(b"second half")


def test_an_orphan_that_ends_after_another_attempt_was_committed_changes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    store = Store(str(output))
    open_work(store)
    engine = Engine(store)
    before: dict[str, bytes] = {}

    def another_attempt() -> None:
        sealed = engine.step("slow", Step(write_slowly), [0], None)
        publish(engine, "published", [("text", m.files[0]) for _, m in sealed.done()])
        before.update(tree_of(output))

    elsewhere = Engine(Store(str(tmp_path / "elsewhere"))).step("slow", Step(write_slowly), [0], None)
    step = StepFolder(store, "slow", elsewhere.fingerprint)
    MEANWHILE.append(another_attempt)
    orphan = execute(Work("slow", Step(write_slowly), store, step.folder, None), 0, 0)
    (sealed,) = engine.sealed
    assert sealed.folder == step.folder
    winner = sealed.manifests[0]
    assert winner is not None
    assert orphan.files[0].checksum == winner.files[0].checksum
    assert step.commit(orphan) == winner
    after = tree_of(output)
    assert {name for name in after if after[name] != before.get(name)} == {orphan.files[0].path}
    assert step.sealed() == [winner]
    assert Engine(store).step("slow", Step(write_slowly), [0], None).manifests == (winner,)


def test_two_attempts_never_share_a_file_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    paths = set()
    for _ in range(100):
        output = Output(store, "work/step-0123456789abcdef", 0)
        with output.open(Role.DOCUMENTS, ".txt") as file:
            file.write(b"x")
        paths.add(output.files[0].path)
    assert len(paths) == 100


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
