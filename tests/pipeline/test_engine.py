"""Steps: commits are once, seals are read, failures stop, accounting is checked, one run holds an output."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from gristmill.pipeline.engine.accounting import AccountingError, Counts, check_chain
from gristmill.pipeline.engine.commit import StepFolder
from gristmill.pipeline.engine.engine import Engine, StepFailed
from gristmill.pipeline.engine.manifest import Manifest, Role, Stats
from gristmill.pipeline.engine.publish import problems, publish
from gristmill.pipeline.engine.task import Step, Task, Work, execute
from gristmill.storage.lease import PATH, Lease, LeaseHeld
from gristmill.storage.store import Store


@dataclass(frozen=True)
class Length(Stats):
    length: int


def write(task: Task[int | str, str]) -> Length:
    with task.output.open(Role.DOCUMENTS, ".txt") as file:
        file.write(f"{task.payload}{task.shared}".encode())
    return Length(len(str(task.payload)))


WRITE = Step(write)


def fail_once_in_two(task: Task[int, str]) -> None:
    if task.payload % 2 and not task.store.exists("mended"):
        raise ValueError(f"payload {task.payload} is odd")
    write(task)


ODD = Step(fail_once_in_two)


def lose_a_document(task: Task[int, None]) -> None:
    counts = task.counts("careless")
    counts.documents_in = 10
    counts.kept = 9 if task.payload == 2 else 10


def test_a_sealed_step_is_read_and_not_run_again(tmp_path: Path) -> None:
    first = Engine(Store(str(tmp_path)))
    done = first.step("write", WRITE, [1, 2, 3], "!")
    again = Engine(Store(str(tmp_path)))
    found = again.step("write", WRITE, [1, 2, 3], "!")
    assert found.manifests == done.manifests
    assert (first.recomputed, again.recomputed) == ({"write": 3}, {"write": 0})


def test_identity_tasks_and_upstream_change_the_fingerprint(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    a = engine.step("write", WRITE, [1], "a")
    marks = {
        a.fingerprint,
        engine.step("write", WRITE, [1], "b").fingerprint,
        engine.step("write", WRITE, [2], "a").fingerprint,
        engine.step("write", WRITE, [1, 2], "a").fingerprint,
        engine.step("write", WRITE, [1], "a", upstream=[a]).fingerprint,
        engine.step("write", Step(write, version=2), [1], "a").fingerprint,
        engine.step("rewrite", WRITE, [1], "a").fingerprint,
    }
    assert len(marks) == 7


def test_a_failed_step_keeps_what_was_committed_and_a_rerun_does_only_the_rest(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(StepFailed, match="3 of 6 tasks failed after 3 attempts, first task 1: ValueError: payload 1"):
        Engine(store).step("odd", ODD, range(6), "")
    store.write("mended", b"")
    engine = Engine(store)
    sealed = engine.step("odd", ODD, range(6), "")
    assert engine.recomputed == {"odd": 3}
    assert sealed.reused == 3
    assert [manifest.index for _, manifest in sealed.done()] == list(range(6))


def test_missing_partitions_are_allowed_only_on_request_and_change_what_follows(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    engine = Engine(store, allow_missing=True)
    sealed = engine.step("odd", ODD, range(4), "")
    assert [m is None for m in sealed.manifests] == [False, True, False, True]
    incomplete = engine.step("after", WRITE, [0], "", upstream=[sealed]).fingerprint
    store.write("mended", b"")
    whole = engine.step("odd", ODD, range(4), "")
    assert engine.step("after", WRITE, [0], "", upstream=[whole]).fingerprint != incomplete


def test_a_late_attempt_cannot_replace_a_commit(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    folder = StepFolder(store, "write", "f" * 64)
    work = Work("write", WRITE, store, folder.folder, "")
    first = execute(work, 0, "x")
    late = execute(work, 0, "x")
    assert folder.commit(first) == first
    assert folder.commit(late) == first
    assert {file.path for file in late.files}.isdisjoint(file.path for file in first.files)
    assert late.files[0].checksum == first.files[0].checksum == store.checksum(first.files[0].path)


def test_a_manifest_survives_json() -> None:
    counts = Counts(documents_in=3, kept=2, dropped=1, bytes_in=9, bytes_kept=5, bytes_dropped=4)
    counts.count_rule("a.b", 1, 4)
    manifest = Manifest(7, (), {"stage": counts}, Length(1))
    assert Manifest.from_json(manifest.to_json(), Length) == manifest
    assert Manifest.from_json(manifest.to_json(), NoneType).stats is None


def test_a_lost_document_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(AccountingError, match="careless, partition 2: 10 documents in"):
        Engine(Store(str(tmp_path))).step("careless", Step(lose_a_document), range(4), None)


def test_a_stage_must_take_in_what_the_one_before_kept() -> None:
    a = Counts(documents_in=5, kept=5, bytes_in=50, bytes_kept=50)
    b = Counts(documents_in=4, kept=4, bytes_in=40, bytes_kept=40)
    check_chain(0, [("a", a), ("b", a)])
    with pytest.raises(AccountingError, match="a kept 5 documents of 50 bytes, but b took in 4 of 40"):
        check_chain(0, [("a", a), ("b", b)])


def test_a_second_run_on_an_output_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store), pytest.raises(LeaseHeld, match=f"process {os.getpid()} on {socket.gethostname()}"), Lease(store):
        pass
    assert not store.exists(PATH)


@pytest.mark.parametrize(
    "holder",
    [
        {"token": "x", "host": socket.gethostname(), "pid": 2**22 + 1, "renewed": time.time()},
        {"token": "x", "host": "elsewhere", "pid": 1, "renewed": time.time() - 3600},
    ],
    ids=["its process is gone", "it was not renewed"],
)
def test_a_stale_lease_is_taken_over(tmp_path: Path, holder: dict[str, Any]) -> None:
    store = Store(str(tmp_path))
    store.write(PATH, json.dumps(holder).encode())
    with Lease(store):
        assert json.loads(store.read(PATH))["pid"] == os.getpid()


def test_publishing_again_removes_what_is_no_longer_there_and_verify_sees_a_flipped_byte(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    sealed = engine.step("write", WRITE, ["a", "b"], "")
    files = [(f"{i}.txt", m.files[0]) for i, m in sealed.done()]
    publish(engine, "published", files)
    publish(engine, "published", files[:1])
    assert engine.store.files("published") == ["published/0.txt"]
    assert problems(engine.store, "published") == []
    (tmp_path / "published" / "0.txt").write_bytes(b"z")
    assert "content differs from its checksum" in problems(engine.store, "published")[0]
    publish(engine, "published", files[:1])  # the committed file changed with its hard link: it is computed again
    assert engine.repaired == [files[0][1].path]
    assert problems(engine.store, "published") == []
