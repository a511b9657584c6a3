"""A small real tokenizer for the tests: the standard library's source and one sentence in eighteen languages."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from articles import ARTICLE_ONE

from gristmill.tokenizer.encode import Encoder
from gristmill.tokenizer.train import train


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """About 2 MB of documents, present wherever Python is."""
    library = Path(sysconfig.get_path("stdlib"))
    names = ("argparse", "ast", "datetime", "doctest", "inspect", "pathlib", "pickle", "socket", "tarfile", "typing")
    sources = [(library / f"{name}.py").read_text("utf-8") for name in names]
    return sources + list(ARTICLE_ONE) * 200


@pytest.fixture(scope="session")
def model_path(texts, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    train(texts, out, 4000)
    return out / "tokenizer.model"


@pytest.fixture(scope="session")
def encoder(model_path) -> Encoder:
    return Encoder(model_path)
