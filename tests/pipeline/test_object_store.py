"""Runs on an S3 server that answers late, refuses and breaks off: the bytes of a run on disk, or one sentence."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from corpus import PUBLISHED, differences, lay_out, tree
from object_store import ACCESS_KEY, FAILING, MIXED, SECRET_KEY, Fault, ObjectStore, Proxy, Rule, Schedule

import gristmill.storage.retrying
import gristmill.storage.uris
import gristmill.storage.web
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine.engine import ATTEMPTS, Engine, Inline, StepFailed
from gristmill.pipeline.engine.manifest import Role
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.run import Result, run
from gristmill.pipeline.upkeep.verify import verify
from gristmill.storage.lease import Lease, LeaseHeld
from gristmill.storage.retrying import StorageError
from gristmill.storage.store import Store

pytestmark = pytest.mark.slow

# -- whole runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config_path(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    """The small corpus, cut down, in a few partitions."""
    folder = tmp_path_factory.mktemp("corpus")
    path = lay_out(shared_data, folder, language_model)
    config = yaml.safe_load(path.read_text())
    inputs = folder / "input"
    chosen = {"english": inputs / "english-2.jsonl.gz", "other": inputs / "other-[0-2].jsonl", "code": None}
    config["sources"] = [source for source in config["sources"] if source["name"] in chosen]
    for source in config["sources"]:
        source["uri"] = str(chosen[source["name"]] or source["uri"])
    (inputs / "code.jsonl").write_text("\n".join((inputs / "code.jsonl").read_text("utf-8").split("\n")[:300]), "utf-8")
    config["plan"] = {"partition_bytes": 1_800_000, "max_segments": 3}
    config["tokenizer"] = {"vocab_size": 1200, "sample_bytes": 500_000}
    config["shards"] = {"tokens_per_shard": 300_000, "holdout": 0.02}
    config["blends"]["pretrain"]["tokens"] = 700_000
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def on_disk(config_path: Path) -> dict[str, bytes]:
    return tree(Path(run(load(str(config_path)), inline=True).output))


def stored(s3: ObjectStore, config_path: Path, output: str) -> Path:
    """The configuration with all inputs and the output in the bucket, the code by http."""
    config = yaml.safe_load(config_path.read_text())
    for source in config["sources"]:
        pattern = Path(source["uri"])
        for path in sorted(pattern.parent.glob(pattern.name)):
            s3.put(f"in/{path.name}", path.read_bytes())
        source["uri"] = (s3.http if source["name"] == "code" else s3.uri)(f"in/{pattern.name}")
    config["output"] = s3.uri(output)
    path = config_path.with_name(f"{output}.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def published(s3: ObjectStore, output: str) -> dict[str, bytes]:
    store = Store(s3.uri(output))
    return {name: s3.get(f"{output}/{name}") for top in PUBLISHED for name in store.files(top)}


@pytest.fixture(scope="module")
def in_bucket(server: ObjectStore, config_path: Path) -> tuple[Result, dict[str, int], int]:
    """A run in one process while seven requests in a hundred fail: (result, requests, tasks)."""
    path = stored(server, config_path, "inline")
    server.proxy.clear()
    server.proxy.schedule = Schedule(seed=1, rate=0.07)
    result = run(load(str(path)), inline=True)
    injected, counts = server.proxy.injected, server.proxy.counts()
    server.proxy.clear()
    assert sum(injected.values()) > 150, injected
    assert len(injected) == len(MIXED), injected
    return result, counts, sum(step["tasks"] for step in result.record["steps"])


@pytest.mark.slow
def test_a_run_on_a_failing_object_store_writes_what_a_run_on_disk_writes(
    in_bucket: Any, s3: ObjectStore, on_disk: dict[str, bytes]
) -> None:
    assert differences(published(s3, "inline"), on_disk) == []
    assert verify(s3.uri("inline")) == []


@pytest.mark.slow
def test_workers_on_a_failing_object_store_write_the_same_bytes(
    s3: ObjectStore, config_path: Path, on_disk: dict[str, bytes], one_ray: None
) -> None:
    path = stored(s3, config_path, "workers")
    s3.proxy.schedule = Schedule(seed=2, rate=0.05)
    run(load(str(path)), workers=2)
    assert sum(s3.proxy.injected.values()) > 80
    s3.proxy.clear()
    assert differences(published(s3, "workers"), on_disk) == []


@pytest.mark.slow
def test_credentials_are_nowhere_in_the_output(in_bucket: Any, s3: ObjectStore) -> None:
    secrets = [secret.encode() for secret in (SECRET_KEY, quote(SECRET_KEY, safe=""), ACCESS_KEY)]
    store = Store(s3.uri("inline"))
    told = [name for name in store.files() if any(secret in s3.get(f"inline/{name}") for secret in secrets)]
    assert told == []
    result = in_bucket[0]
    assert not any(secret.decode() in json.dumps([result.output, result.summary, result.report]) for secret in secrets)


@pytest.mark.slow
def test_a_task_takes_a_bounded_number_of_requests(in_bucket: Any) -> None:
    _, counts, tasks = in_bucket
    assert sum(counts.values()) < 35 * tasks, counts


# -- a store -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAILING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_every_operation_of_a_store_rides_out_every_fault(s3: ObjectStore, fault: Fault) -> None:
    store = Store(s3.uri(f"faults-{fault.kind}-{fault.status}"))
    large = bytes(range(256)) * 45_000  # two parts

    def faulty(call: Any) -> Any:
        s3.proxy.rules = [Rule(fault, times=2)]
        result = call()
        assert s3.proxy.rules[0].times == 0
        return result

    assert faulty(lambda: store.create("a/one", b"1", leased=True))
    assert not faulty(lambda: store.create("a/one", b"2", leased=True))
    faulty(lambda: store.write("a/two", large))
    assert faulty(lambda: store.read("a/two")) == large
    faulty(lambda: store.publish("a/two", "b/two"))
    assert faulty(lambda: store.checksum("b/two")) == store.checksum("a/two")
    faulty(lambda: store.move("b/two", "b/three"))
    assert faulty(lambda: store.files()) == ["a/one", "a/two", "b/three"]
    assert faulty(lambda: store.folders()) == ["a", "b"]
    assert faulty(lambda: store.size("b/three")) == len(large)
    with faulty(lambda: store.open_input("a/two")) as file:
        assert faulty(lambda: file.read_at(1000, 5_000_000)) == large[5_000_000:5_001_000]
    faulty(lambda: store.delete("a/one"))
    assert not faulty(lambda: store.exists("a/one"))


@pytest.mark.parametrize("operation", ["PUT", "CREATE_UPLOAD", "UPLOAD_PART", "COMPLETE_UPLOAD"])
def test_an_upload_that_fails_in_the_background_is_an_error_and_no_file(s3: ObjectStore, operation: str) -> None:
    store = Store(s3.uri("uploads"))
    s3.proxy.rules = [Rule(Fault("error", 403), (operation,))]
    with pytest.raises(StorageError, match="access is denied"), store.open_output(operation) as file:
        file.write(bytes(1000 if operation == "PUT" else 25_000_000))
    s3.proxy.rules = []
    assert not store.exists(operation)


def test_what_a_block_wrote_before_an_exception_is_removed(s3: ObjectStore) -> None:
    store = Store(s3.uri("torn"))
    with pytest.raises(TypeError), store.open_output("half") as file:
        file.writelines([b"half of it", None])  # type: ignore[list-item]
    assert store.files() == []


def test_a_task_whose_storage_fails_is_tried_again(s3: ObjectStore, impatient: None) -> None:
    store = Store(s3.uri("again"))
    store.write("input", b"content")
    tries = []

    def copying(task: Task[None, str]) -> None:
        tries.append(task.index)
        with task.output.open(Role.DOCUMENTS, ".bin") as file:
            file.write(task.store.read("input"))

    engine = Engine(store, Inline())
    s3.proxy.rules = [Rule(Fault("reset_body"), ("GET",), "again/input", times=4)]
    sealed = engine.step("copy", Step(copying), [None], "copy")
    assert len(tries) == 2
    assert engine.read(sealed.manifests[0].file(Role.DOCUMENTS)) == b"content"  # type: ignore[union-attr,arg-type]
    s3.proxy.rules = [Rule(Fault("error", 503), ("GET",), "again/input")]
    with pytest.raises(StepFailed, match=rf"after {ATTEMPTS} attempts.*again/input: the storage is overloaded"):
        engine.step("copy", Step(copying), [None], "copied again")


def test_of_many_that_create_one_file_at_once_at_most_one_succeeds(s3: ObjectStore) -> None:
    stores = [Store(s3.uri("contested")) for _ in range(5)]
    s3.proxy.schedule = Schedule(seed=3, rate=0.3, faults=[Fault("delay", seconds=0.05)])
    won = 0
    with ThreadPoolExecutor(len(stores)) as pool:
        for turn in range(4):
            start = threading.Barrier(len(stores))

            def contend(i: int, name: str = f"work/{turn}", start: threading.Barrier = start) -> bool:
                start.wait()
                return stores[i].create(name, b"%d" % i)

            created = list(pool.map(contend, range(len(stores))))
            assert sum(created) <= 1
            if any(created):
                won += 1
                assert stores[0].read(f"work/{turn}") == b"%d" % created.index(True)
    assert won >= 3
    assert stores[0].files("work") == [f"work/{turn}" for turn in range(4) if stores[0].exists(f"work/{turn}")]


def test_a_second_run_refuses_and_names_the_holder_without_credentials(s3: ObjectStore) -> None:
    with Lease(Store(s3.uri("leased"))), pytest.raises(LeaseHeld) as error, Lease(Store(s3.uri("leased"))):
        pass
    assert re.search(r"process \d+ on \S+ is running on this output; wait for it, or choose another", str(error.value))
    assert SECRET_KEY not in str(error.value)
    assert quote(SECRET_KEY, safe="") not in str(error.value)


def test_credentials_may_come_from_the_environment(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from/the+environment")
    gristmill.storage.uris._remote.cache_clear()
    store = Store(s3.uri("environment", credentials=False))
    store.write("a", b"1")
    assert store.read("a") == b"1"
    assert store.shown == store.uri


def test_an_endpoint_that_goes_down_in_mid_run_ends_it_with_a_sentence(s3: ObjectStore, impatient: None) -> None:
    """Whether it is a task that meets it first, or the commit of one before; what is committed is not done again."""
    proxy = Proxy(s3.moto.get_host_and_port())
    store = Store(s3.uri("down", port=proxy.port))
    done: list[int] = []
    down = threading.Event()

    def writing(task: Task[int, None]) -> None:
        if task.index == 2 and not down.is_set():
            down.set()
            proxy.close()
        with task.output.open(Role.DOCUMENTS, ".bin") as file:
            file.write(b"x")
        done.append(task.index)

    sentence = r"s3://.*: the endpoint does not answer .*run again, what is done is kept"
    with pytest.raises((StepFailed, StorageError), match=sentence):
        Engine(store, Inline()).step("write", Step(writing), range(4), None)
    assert done == [0, 1]
    again = Store(s3.uri("down"))
    committed = [int(Path(file).stem) for file in again.files(f"work/{again.folders('work')[0]}/tasks")]
    assert set(committed) <= {0, 1}
    done.clear()
    Engine(again, Inline()).step("write", Step(writing), range(4), None)
    assert sorted(done + committed) == [0, 1, 2, 3]


def test_a_file_is_written_by_one_request_and_a_commit_costs_two(s3: ObjectStore) -> None:
    store = Store(s3.uri("costs"))
    store.write("a", b"1")
    assert s3.proxy.counts() == {"PUT": 1}
    s3.proxy.clear()
    assert store.create("b", b"1", leased=True)
    assert s3.proxy.counts() == {"HEAD": 1, "PUT": 1}
