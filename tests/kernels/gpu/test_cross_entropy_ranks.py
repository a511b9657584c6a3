"""The vocabulary split over real gloo processes (under the interpreter, on a GPU's machine too) against one in fp64."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from gristmill.kernels.gpu.cross_entropy import linear_cross_entropy_triton
from tests.kernels.gpu.test_cross_entropy import Calls, chunks_of, exactly, problem

pytestmark = pytest.mark.slow

T, H, V, SCALE = 7, 8, 24, 0.125


def sharded(group, chunk, folder):
    """This rank's share of the problem, saved for the parent."""
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    x, w, labels, _ = problem(T, H, V, torch.float32, "cpu")
    start = rank * V // ranks
    shard = w.detach()[start : start + V // ranks].clone().requires_grad_()
    buffer = torch.zeros_like(shard)
    with chunks_of(chunk):
        with Calls() as calls:
            loss, losses = linear_cross_entropy_triton(
                x, shard, labels, SCALE, buffer, group=group, vocabulary_start=start
            )
            loss.backward()
        with torch.no_grad(), Calls() as evaluated:
            again = linear_cross_entropy_triton(x, shard, labels, SCALE, group=group, vocabulary_start=start)
    collectives = [[name for name in c.names if name.startswith("c10d")] for c in (calls, evaluated)]
    result = loss.detach(), losses, x.grad, buffer, again[1], *collectives
    torch.save(result, folder / f"{ranks}_{chunk}_{dist.get_rank()}.pt")


def rank_of_four(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    for group in (dist.group.WORLD, pairs[rank // 2]):
        for chunk in (4, 1024):
            sharded(group, chunk, Path(folder))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Folder of what four gloo processes computed, as one group and as two pairs."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.set_forkserver_preload([__name__, "torch._dynamo"])  # imported once, not by each
    with mock.patch.dict("os.environ", {"TRITON_INTERPRET": "1"}):
        torch.multiprocessing.start_processes(rank_of_four, (str(folder),), nprocs=4, start_method="forkserver")
    return folder


@pytest.mark.parametrize("chunk", [4, 1024])
@pytest.mark.parametrize("size", [2, 4])
def test_vocabulary_parallel_ranks_equal_one_process(ranks, size, chunk):
    """Real gloo processes; loss, token losses and every gradient within 1e-5; the same bits on every rank."""
    x, w, labels, _ = problem(T, H, V, torch.float32, "cpu")
    losses, loss, dx, dw = exactly(x, w, labels, SCALE)
    for first in range(0, 4, size):  # both pairs
        shares = [torch.load(ranks / f"{size}_{chunk}_{rank}.pt") for rank in range(first, first + size)]
        for got in shares:
            assert torch.equal(got[0], shares[0][0])
            assert torch.equal(got[1], shares[0][1])
            assert torch.equal(got[4], got[1])
        torch.testing.assert_close(shares[0][0].double(), loss, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(shares[0][1].double(), losses, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sum(got[2] for got in shares).double(), dx, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.cat([got[3] for got in shares]).double(), dw, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_exchange_one_packed_gather_a_chunk_and_nothing_else(ranks, size):
    for chunk, gathers in ((1024, 1), (4, 2)):
        *_, training, evaluation = torch.load(ranks / f"{size}_{chunk}_0.pt")
        assert training == evaluation == ["c10d._allgather_base_.default"] * gathers
