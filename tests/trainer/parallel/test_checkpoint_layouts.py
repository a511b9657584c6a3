"""A checkpoint saved by one layout of real processes and loaded by others: the same bits, moments included."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

from gristmill.trainer.checkpoints import reading, saving
from gristmill.trainer.checkpoints.format import KINDS, weight_sizes
from gristmill.trainer.data.permutation import key64
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups, make_groups
from gristmill.trainer.parallel.placement import logical_part
from gristmill.trainer.state import FlatState
from tests.trainer.parallel.processes import run

pytestmark = pytest.mark.slow

SHAPE = Shape(2, 32, 8, 4, 8, 72, 264, context=64)
PROGRESS = {"step": 7, "samples": 21, "optimizer_step": 7, "tokens": 1344}
BUCKET = 1000
"""Elements: pieces of a data-parallel rank then begin and end within rows."""


def expected(kind: str, name: str) -> torch.Tensor:
    """Any bits, other ones for every tensor."""
    generator = torch.Generator().manual_seed(key64(5, f"{kind}.{name}") >> 1)
    return torch.randn(weight_sizes(SHAPE)[name], generator=generator)


def build(groups: Groups) -> FlatState:
    """The state of one rank, every buffer 7."""
    first, last = (SHAPE.layers * i // groups.pipeline.size for i in (groups.pipeline.rank, groups.pipeline.rank + 1))
    with torch.device("meta"):
        model = Nemotron(SHAPE, groups=groups, first=first, last=last, embed=first == 0, head=last == SHAPE.layers)
    state = FlatState(model, torch.bfloat16, "cpu", groups, bucket_elements=BUCKET)
    for group in state.groups:
        for kind in ("param", *KINDS):
            getattr(group, kind).fill_(7.0)
    return state


def part(kind: str, piece, groups: Groups) -> torch.Tensor:
    whole = expected(kind, piece.name)
    return whole[logical_part(piece.name, whole.shape, groups.tensor)].reshape(-1)[piece.start : piece.stop]


def fill(state: FlatState, groups: Groups) -> None:
    for kind in KINDS:
        for piece in state.pieces(kind):
            piece.data.copy_(part(kind, piece, groups))


def held(state: FlatState, groups: Groups) -> list[tuple]:
    """(kind, name, box, start, stop, values) of all a rank owns; of the norms, which all tensor ranks hold, too."""
    return [
        (kind, p.name, logical_part(p.name, p.full, groups.tensor), p.start, p.stop, p.data.clone())
        for kind in KINDS
        for p in state.pieces(kind)
    ]


def loaded(directory: str, tensor: int, pipeline: int, data: int) -> dict:
    """What a rank of this layout holds after loading the newest good checkpoint."""
    groups = make_groups(tensor, pipeline, data)
    state = build(groups)
    path = reading.newest_good(directory, print, groups)
    opened: list[Path] = []
    sys.addaudithook(lambda event, given: opened.append(Path(str(given[0]))) if event == "open" else None)
    progress = reading.load(path, state, groups)
    state.wait()
    files = {file.name for file in opened if file.suffix == ".safetensors"}
    size = groups.tensor.size
    local = replace(SHAPE, heads=SHAPE.heads // size, kv_heads=SHAPE.kv_heads // size)
    rounded = True
    for name, value in logical_weights(state.named("param"), local).items():
        main = expected("main", name)
        rounded &= torch.equal(value, main[logical_part(name, main.shape, groups.tensor)].bfloat16())
    return {"held": held(state, groups), "progress": progress, "rounded": rounded, "files": files}


def whole_tensors(ranks: list[list[tuple]]) -> dict[tuple[str, str], torch.Tensor]:
    """Put together from what all ranks hold; an element that no rank holds stays NaN."""
    out = {(kind, n): torch.full(size, torch.nan) for kind in KINDS for n, size in weight_sizes(SHAPE).items()}
    for pieces in ranks:
        for kind, name, box, start, stop, values in pieces:
            local = out[kind, name][box].reshape(-1).clone()
            local[start:stop] = values
            out[kind, name][box] = local.view(out[kind, name][box].shape)
    return out


def same(results: list[dict]) -> bool:
    tensors = whole_tensors([result["held"] for result in results])
    return all(torch.equal(tensor, expected(*key)) for key, tensor in tensors.items())


def on_four_ranks(directory: str) -> dict:
    groups = make_groups(2, 1, 2)
    state, rank = build(groups), groups.world.rank
    fill(state, groups)
    saver = saving.Saver(directory, state, groups, keep=2)
    saver.save(PROGRESS)
    for group in state.groups:  # training goes on
        for kind in ("param", *KINDS):
            getattr(group, kind).fill_(-3.0)
    saved = saver.wait()
    torch.distributed.barrier()
    layouts = ((2, 1, 2), (4, 1, 1), (1, 1, 4), (2, 2, 1))
    out = {"saved": saved, "layouts": {layout: loaded(directory, *layout) for layout in layouts}}

    own = directory if rank != 3 else f"{directory}-of-another-node"
    out["not shared"] = failure(lambda: saving.save(own, state, groups, PROGRESS, 2))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if rank == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    out["no room"] = failure(lambda: saving.save(directory, state, groups, {**PROGRESS, "step": 8}, 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    torch.distributed.barrier()

    for step in (9, 10):
        path = saving.save(directory, state, groups, {**PROGRESS, "step": step}, 3)
        torch.distributed.barrier()
    if rank == 0:
        (path / "weights-00001.safetensors").unlink()
        flip(path.with_name("step-00000009") / "moments-00003.safetensors")
    torch.distributed.barrier()
    heard: list[str] = []
    found = reading.newest_good(directory, heard.append, groups, retire=True)
    torch.distributed.barrier()
    out["fallback"] = (found.name, heard, sorted(os.listdir(directory)))
    if rank == 0:
        shutil.copytree(found, Path(f"{directory}-first") / found.name)
    torch.distributed.barrier()
    saving.save(directory, state, groups, {**PROGRESS, "step": 11}, 1)
    torch.distributed.barrier()
    out["pruned"] = sorted(os.listdir(directory))
    return out


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 16
    file.write_bytes(data)


def failure(call: Callable[[], object]) -> str | None:
    try:
        call()
    except TrainerError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> tuple[Path, list[dict]]:
    """The directory, and what each of four ranks saw."""
    directory = tmp_path_factory.mktemp("layouts") / "checkpoints"
    return directory, run(on_four_ranks, 4, str(directory))


@pytest.mark.parametrize("layout", [(2, 1, 2), (4, 1, 1), (1, 1, 4), (2, 2, 1)])
def test_what_tp2_dp2_saved_other_layouts_load_to_the_bit(four, layout):
    """Full tensors of main copy and both moments equal those saved, though training went on during the save."""
    results = [rank["layouts"][layout] for rank in four[1]]
    assert same(results)
    for result in results:
        assert result["rounded"]
        assert {key: result["progress"][key] for key in PROGRESS} == PROGRESS


def test_one_process_and_three_data_parallel_ranks_load_the_same_bits(four):
    directory = f"{four[0]}-first"
    assert same([loaded(directory, 1, 1, 1)])
    assert same(run(loaded, 3, directory, 1, 1, 3))


def test_a_rank_opens_the_files_that_hold_what_it_owns_and_no_others(four):
    """The layout that saved: its own, and for the norms those of the first tensor-parallel rank."""
    for number, rank in enumerate(four[1]):
        mine = {f"{stem}-{r:05d}.safetensors" for r in {number, number - number % 2} for stem in ("weights", "moments")}
        assert rank["layouts"][2, 1, 2]["files"] == mine


def test_norms_which_all_tensor_ranks_hold_are_written_once(four):
    elements = sum(prod(size) for size in weight_sizes(SHAPE).values())
    headers = 4 * 2 * 20_000
    assert 0 < sum(rank["saved"].bytes for rank in four[1]) - 12 * elements < headers


def test_a_directory_that_not_every_rank_sees_is_refused_at_once(four):
    for rank in four[1]:
        assert "seen by 3 of 4 ranks: set checkpoint.directory to a folder that every node sees" in rank["not shared"]


def test_a_rank_that_cannot_write_fails_the_save_in_one_sentence_and_leaves_the_good_one(four):
    ranks = [rank["no room"] for rank in four[1]]
    assert "rank 2 could not save step 8 (File too large): make room there" in ranks[2]
    assert ranks[0] == ranks[2]
    assert all("\n" not in sentence for sentence in (ranks[0], ranks[2]))


def test_ranks_verify_together_fall_back_together_and_damaged_ones_do_not_count_as_kept(four):
    for number, rank in enumerate(four[1]):
        name, heard, listing = rank["fallback"]
        assert name == "step-00000007"
        assert len(heard) == (2 if number == 0 else 0)
        assert listing == ["refused-step-00000009", "refused-step-00000010", "step-00000007"]
        assert rank["pruned"] == ["refused-step-00000009", "refused-step-00000010", "step-00000011"]
    missing, changed = four[1][0]["fallback"][1]
    assert missing.endswith("step-00000010/weights-00001.safetensors: is missing: checkpoint refused")
    assert "step-00000009/moments-00003.safetensors: its content has changed" in changed
