"""What a model needs on one rank, before anything is started: bytes of the states, of the activations, of the work.

    states       2 n  bf16 parameters + 4 n  fp32 gradients + 12 n / D  fp32 main copy and two moments
                 (Rajbhandari et al. 2020, ZeRO stage 1); fp32 training: 4 n + 4 n + 8 n / D
    activations  what is kept between forward and backward, summed over layers and micro-batches in flight
    working      what else is alive at the moment of the step at which the sum is largest
    total        the three together: the peak of a step

n: parameters of this rank's part of the model, D data-parallel ranks, t tensor-parallel ranks, T tokens of a
micro-batch, e bytes of the training dtype. Kept of a layer, by policy (`trainer.model.layers`), with r = e T h / t
bytes:

    full    r                       the layer's input
    lean    2 r + (16 T + e T (2 q + 2 k + f) + 4 T heads) / t
            both norms' inputs and statistics · q, k, v and the attention's output · squared ReLU's output · logsumexp
    all     lean + 2 r              both norms' outputs

q, k, f: widths of queries, keys and MLP. Working is the larger of two moments. At the loss: the last hidden states of
all T tokens, their gradient, one chunk of logits. In the backward of the last layer: gradients on their way and the
inputs that are gathered again, and with "full" what that one layer keeps of its second forward.

Bytes of tensors with the ops of a GPU, as `benchmarks/memory_tracker.py` counts them. Not in it: the CUDA context,
NCCL's buffers, workspaces of the libraries, what the allocator loses; `reserve` is kept free for these.
"""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.chunks import cut, head_work
from gristmill.trainer.parallel.pipeline_schedule import schedule

GIB = 1 << 30
CHUNK_BYTES = 1 << 30
"""Logits of a chunk (`Nemotron.loss`)."""
LEAST_ROWS, ROW_MULTIPLE = 1024, 256
"""Of a chunk, as in `kernels.gpu.cross_entropy`."""
TRANSFERS = {False: 4, True: 6}
"""Tensors between pipeline ranks that have come ahead or are not yet away at the peak, by whether chunks interleave:
what `benchmarks/memory_tracker.py` counts on ranks of the middle (`trainer.parallel.pipeline`)."""
CONTEXT_BYTES = 1 * GIB
COMMUNICATOR_BYTES = 3 * GIB // 2
LOST = 0.05
"""Kept free (`reserve`). Context: CUDA's own and the code of kernels and libraries, 0.7 GiB beside what torch has
allocated in its out-of-memory messages, and cuBLAS's workspaces. Communicator: NCCL's channels, 1.6 GB for the first
and about 6 GB for several are reported (NVIDIA/nccl issue 864). Lost: between blocks that are in use, of what is not
state; the state's buffers are allocated once and whole."""


@dataclass(frozen=True)
class Layout:
    """How a model is spread and run. micro_batch: sequences; width: bytes of parameters and activations, 2 or 4."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    micro_batch: int = 1
    policy: str = "lean"
    virtual: int = 1
    width: int = 2

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True)
class Memory:
    """Bytes of the rank that needs most. parameters_count: of this rank."""

    parameters_count: int
    states: int
    activations: int
    working: int

    @property
    def total(self) -> int:
        return self.states + self.activations + self.working


@dataclass(frozen=True)
class Part:
    """Some layers of the model, with the embedding, with final norm and head."""

    layers: int
    embed: bool = True
    head: bool = True

    def parameters(self, shape: Shape, tensor: int) -> int:
        """Of a tensor-parallel rank: matrices and embeddings are split, norms are on each."""
        h, projected = shape.hidden, shape.head_dim * (shape.heads + shape.kv_heads)
        split = self.layers * (2 * h * projected + 2 * h * shape.ffn) + (self.embed + self.head) * shape.vocab_size * h
        return split // tensor + self.layers * 4 * h + self.head * 2 * h


def parameters_per_rank(shape: Shape, tensor: int) -> int:
    """Of the whole model; matrices and embeddings are split over tensor-parallel ranks, norms are on each."""
    return Part(shape.layers).parameters(shape, tensor)


def state_bytes(count: int, data: int, width: int = 2) -> int:
    """Of `count` parameters: themselves, gradients, and the shard of the optimizer; width 4 is fp32 training."""
    optimizer = 12 if width < 4 else 8  # fp32 parameters are their own main copy
    return (width + 4) * count + optimizer * count // data


def activation_bytes(shape: Shape, tokens: int, tensor: int = 1, policy: str = "lean", width: int = 2) -> int:
    """Kept between forward and backward by one layer, for `tokens` tokens of a micro-batch."""
    rows = width * tokens * shape.hidden // tensor
    if policy == "full":
        return rows
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    inside = tokens * (16 + width * (2 * queries + 2 * keys + shape.ffn) + 4 * shape.heads) // tensor
    return inside + rows * {"lean": 2, "all": 4}[policy]


def logits_rows(shape: Shape, tensor: int, width: int = 2, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Rows of a chunk of logits on a GPU."""
    fit = chunk_bytes // (shape.vocab_size // tensor * width)
    return max(LEAST_ROWS, fit // ROW_MULTIPLE * ROW_MULTIPLE)


def memory(shape: Shape, layout: Layout, sequence: int | None = None) -> Memory:
    """The peak of a training step on the pipeline rank that needs most; sequence: tokens, default the context."""
    tokens = layout.micro_batch * (sequence or shape.context)
    ranks = [_rank_memory(shape, layout, tokens, rank, parts) for rank, parts in enumerate(_parts(shape, layout))]
    return max(ranks, key=lambda found: found.total)


def reserve(layout: Layout, found: Memory) -> int:
    """Bytes to keep free on a GPU for what is no tensor: context, NCCL's communicators, the allocator's losses."""
    sizes = (layout.tensor, layout.pipeline, layout.data, layout.gpus)  # the last: all processes
    communicators = sum(size > 1 for size in sizes)
    return CONTEXT_BYTES + communicators * COMMUNICATOR_BYTES + int(LOST * (found.activations + found.working))


def _parts(shape: Shape, layout: Layout) -> list[list[Part]]:
    """pipeline rank -> what each of its chunks holds."""
    if layout.pipeline == 1:
        return [[Part(shape.layers)]]
    chunks = cut(shape.layers, layout.pipeline, layout.virtual, head_work(shape))
    return [[Part(chunk.last - chunk.first, chunk.embed, chunk.head) for chunk in mine] for mine in chunks]


def _rank_memory(shape: Shape, layout: Layout, tokens: int, rank: int, parts: list[Part]) -> Memory:
    """Walks the rank's forwards and backwards: kept grows and shrinks, each moment adds its work."""
    rows = layout.width * tokens * shape.hidden // layout.tensor
    norm = rows + 8 * tokens // layout.tensor  # the final norm's input and statistics
    whole = layout.width * tokens * shape.hidden  # rows of all tokens
    each = activation_bytes(shape, tokens, layout.tensor, layout.policy, layout.width)
    # the last layer's output, which the caller still has, and with "full" the residual, which no layer keeps
    loss = 2 * whole + rows * (2 if layout.policy == "full" else 1) + 4 * tokens + _logits_bytes(shape, layout, tokens)
    in_layer = _layer_working(shape, layout, tokens)
    kept = [part.layers * each + (norm + whole + 4 * tokens if part.head else 0) for part in parts]
    held, worst = 0, (0, 0)
    for kind, chunk, _ in schedule(rank, layout.pipeline, len(parts), 2 * layout.pipeline):
        part, moment = parts[chunk], (0, 0)
        if kind == "F":
            if part.head:
                moment = (held + part.layers * each + norm, loss)
            held += kept[chunk]
        else:
            if part.layers:
                moment = (held - (kept[chunk] - part.layers * each), in_layer)
            held -= kept[chunk]
        worst = max(worst, moment, key=sum)
    activations, working = worst
    working += _inputs_bytes(shape, tokens) + (TRANSFERS[len(parts) > 1] * rows if layout.pipeline > 1 else 0)
    count = sum(part.parameters(shape, layout.tensor) for part in parts)
    return Memory(count, state_bytes(count, layout.data, layout.width), activations, working)


def _layer_working(shape: Shape, layout: Layout, tokens: int) -> int:
    """Beside what is kept, in the backward of the last layer's MLP; nothing later in the backward needs more.

    Counted are gradients of the rank's rows, of all rows (`whole`) and of the MLP's width, and inputs gathered again.
    """
    whole = layout.width * tokens * shape.hidden
    rows, wide = whole // layout.tensor, layout.width * tokens * shape.ffn // layout.tensor
    split = layout.tensor > 1
    again = rows if layout.policy == "lean" else 0
    down = (whole if split else 0) + wide  # dy gathered, dy W
    squared_relu = 2 * wide  # dy, dx
    up = again + (2 * whole + rows if split else whole)  # x gathered, dy W, dx scattered; y is free by now
    moment = rows + max(down, squared_relu, up)  # rows: the residual's gradient, which waits
    if layout.policy == "full":  # the layer's second forward: what "all" keeps but its input, and an unused output
        moment += activation_bytes(shape, tokens, layout.tensor, "all", layout.width)
    return moment


def _logits_bytes(shape: Shape, layout: Layout, tokens: int) -> int:
    columns = shape.vocab_size // layout.tensor
    return min(tokens, logits_rows(shape, layout.tensor, layout.width)) * columns * layout.width


def _inputs_bytes(shape: Shape, tokens: int) -> int:
    """Rotary tables; tokens, labels and positions."""
    return 4 * shape.context * shape.rotary_dim + 24 * tokens
