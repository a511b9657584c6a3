"""The choice of an attention: the fastest that works and agrees, made once, said in one line."""

from __future__ import annotations

import pytest
import torch

from gristmill.kernels.gpu import attention_choice as choice
from gristmill.kernels.gpu.attention import attention_sdpa


def shape(documents=False, device="cpu"):
    return choice.Shape(1, 64, 2, 1, 16, torch.float32, torch.device(device), documents)


def test_a_cpu_gets_sdpa_without_measuring(monkeypatch):
    monkeypatch.setattr(choice, "measure", lambda *_: pytest.fail("measured"))
    q = torch.randn(1, 5, 2, 16)
    assert torch.equal(choice.attention_fastest(q, q, q, 0.3), attention_sdpa(q, q, q, 0.3))
    assert choice.choose(shape()).name == "SDPA"


def test_the_fastest_of_those_that_work_and_agree_is_chosen(monkeypatch):
    def time(run, q, k, v, dout, cu_seqlens, backward=True):
        if run == "breaks":
            raise RuntimeError("no kernel\nfor this shape")
        return {"slow": 3e-3, "fast": 1e-3, "wrong": 1e-6}[run], [q.detach() * (2.0 if run == "wrong" else 1.0)]

    monkeypatch.setattr(choice, "_time", time)
    names = ["slow", "fast", "wrong", "breaks"]
    monkeypatch.setattr(choice, "CANDIDATES", {name: name for name in names})
    found = choice.measure(shape(documents=True), names)
    assert found.name == "fast"
    assert str(found) == (
        "fast (slow 3.00 ms, fast 1.00 ms, wrong: its results are not the others', breaks: RuntimeError: no kernel)"
    )
    assert choice.measure(shape(), ["breaks"]).name == "SDPA"


def test_ours_gives_way_where_one_other_disagrees():
    x = torch.ones(3)
    assert choice.disagreeing({"ours": [x], "b": [x * 1.5]}) == ["ours"]
    assert choice.disagreeing({"ours": [x], "b": [x * 1.001]}) == []
    assert choice.disagreeing({"ours": [x]}) == []


def test_documents_to_measure_with_fill_the_windows():
    cu = choice.packed(3, 4096, 600, torch.device("cpu"))
    lengths = cu.diff()
    assert cu[0] == 0
    assert cu[-1] == 3 * 4096
    assert {4096, 8192} <= set(cu.tolist())
    assert lengths.min() > 0
    assert 450 < lengths.double().mean() < 650


@pytest.mark.gpu
@pytest.mark.parametrize("documents", [False, True], ids=["dense", "documents"])
def test_choice_is_made_once_and_said(capsys, documents):
    shape = choice.Shape(2, 1024, 12, 2, 128, torch.bfloat16, torch.device("cuda", 0), documents)
    found = choice.choose(shape)
    assert found is choice.choose(shape)
    assert isinstance(found.times[choice.OURS], float), found
    assert capsys.readouterr().out.count("attention [2, 1024, 12/2, 128] bfloat16") == 1
