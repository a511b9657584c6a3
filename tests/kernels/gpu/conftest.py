"""The Triton kernels run on the GPU where there is one, else under Triton's interpreter, which is chosen at import."""

from __future__ import annotations

import os

import pytest
import torch

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # before any kernel is imported in this process


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA device")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not ON_GPU:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if "version" in item.fixturenames:  # of Triton: builds for Hopper
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def device() -> str:
    """Where kernels run: "cuda", or "cpu" under the interpreter."""
    return "cuda" if ON_GPU else "cpu"
