"""A full disk, a read-only one, a second run: one sentence, nothing lost, and the run goes on when it can."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from corpus import differences, tree

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine.engine import Engine, Inline
from gristmill.pipeline.engine.identity import IMMATERIAL
from gristmill.pipeline.engine.manifest import Role
from gristmill.pipeline.engine.task import Step, StorageFull, Task
from gristmill.pipeline.run import run
from gristmill.storage.lease import PATH, RENEW_S, Lease, LeaseHeld, LeaseLost
from gristmill.storage.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(undisturbed_run: Path) -> tuple[Path, Any]:
    return undisturbed_run, tree(undisturbed_run.parent / "out")


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_with_room_the_run_goes_on(whole: Any, small_disk: Path) -> None:
    config = load(str(whole[0]), [f"output={small_disk / 'out'}"])
    with pytest.raises(StorageFull, match="out: no space left on device; make room there and run again"):
        run(config, inline=True)
    left = set((small_disk / "out" / "work").glob("*/files/*"))
    named = {
        entry["path"]
        for commit in (small_disk / "out" / "work").glob("*/tasks/*.json")
        for entry in json.loads(commit.read_text().partition(" ")[2])["files"]
    }
    assert {str(path.relative_to(small_disk / "out")) for path in left} == named, "an attempt left files behind"
    done = len(list((small_disk / "out" / "work").glob("*/tasks/*.json")))
    mount("-o", "remount,size=200m", str(small_disk))
    result = run(config, inline=True)
    assert differences(tree(small_disk / "out"), whole[1]) == []
    assert done > 0
    assert sum(step["reused"] for step in result.record["steps"]) == done


@dataclass(frozen=True)
class Filling:
    fills: bool = field(metadata=IMMATERIAL)


def test_a_disk_that_is_full_when_the_commit_is_written_leaves_nothing_of_the_task(small_disk: Path) -> None:
    filler = small_disk / "filler"

    def writing(task: Task[int, Filling]) -> None:
        with task.output.open(Role.DOCUMENTS, ".bin") as file:
            file.write(b"x" * 10_000)
        if task.index == 1 and task.shared.fills:
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(b"\0" * (4 << 20))

    store = Store(str(small_disk / "out"))
    with pytest.raises(StorageFull, match="out: no space left on device; make room there and run again"):
        Engine(store, Inline()).step("write", Step(writing), range(3), Filling(True))
    left = [path.name for path in (small_disk / "out" / "work").rglob("*") if path.is_file()]
    assert sorted(name.split("-")[0] for name in left) == ["0000000.json", "documents", "format.json"]
    filler.unlink()
    done = Engine(store, Inline()).step("write", Step(writing), range(3), Filling(False))
    assert len(list(done.done())) == 3


def command(config: Path, output: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "gristmill.pipeline", "run", str(config), "--inline", "--output", str(output)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_a_read_only_output_is_one_sentence(whole: Any, small_disk: Path) -> None:
    mount("-o", "remount,ro", str(small_disk))
    done = command(whole[0], small_disk / "out")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "characters_per_token" not in line]
    assert len(lines) == 1, done.stderr
    assert f"gristmill: {small_disk}/out" in lines[0]
    assert "read-only file system; make it writable, or choose another --output" in lines[0].lower()


def test_the_disk_is_full_from_the_beginning(whole: Any, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"\0" * (2 << 20))
    done = command(whole[0], small_disk / "out")
    assert done.returncode == 1
    assert "no space left on device; make room there and run again" in done.stderr.lower()


def test_a_run_that_stood_still_while_another_took_over_commits_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    with Lease(store) as first:
        first.check()
        old = json.loads(store.read(PATH))
        store.write(PATH, json.dumps({**old, "renewed": time.time() - 3600}).encode())
        with Lease(store) as second:
            first.renewed -= 3 * RENEW_S
            second.check()
            with pytest.raises(LeaseLost, match=f"process {os.getpid()} on .* has taken this output over"):
                first.check()
        assert not store.exists(PATH)
    assert not store.exists(PATH)


def take(output: str, queue: Any, start: Any) -> None:
    start.wait()
    try:
        with Lease(Store(output)):
            queue.put("held")
            time.sleep(1.0)
    except LeaseHeld as error:
        queue.put(str(error))


def test_of_many_runs_that_find_a_stale_lease_one_takes_it(tmp_path: Path) -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    store = Store(str(tmp_path))
    store.write(PATH, json.dumps({"token": "x", "host": "elsewhere", "pid": 1, "renewed": 0.0}).encode())
    queue, start = context.Queue(), context.Event()
    runs = [context.Process(target=take, args=(str(tmp_path), queue, start)) for _ in range(8)]
    for each in runs:
        each.start()
    start.set()
    answers = [queue.get(timeout=30) for _ in runs]
    for each in runs:
        each.join()
    assert answers.count("held") == 1
    assert all("is running on this output" in a or "at the same time" in a for a in answers if a != "held")


def test_a_second_run_is_refused_while_the_first_goes_on_and_let_in_when_it_was_killed(
    whole: Any, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = [sys.executable, "-m", "gristmill.pipeline", "run", str(whole[0]), "--inline", "--output", str(output)]
    first = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (output / PATH).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)
        second = command(whole[0], output)
        assert second.returncode == 1
        assert f"process {first.pid} on" in second.stderr
        assert "is running on this output; wait for it, or choose another --output" in second.stderr
    finally:
        first.kill()
        first.wait()
    third = command(whole[0], output)
    assert third.returncode == 0, third.stderr
    assert differences(tree(output), whole[1]) == []
