"""Things and a tokenizer, made once for all tests of the pocket model."""

from __future__ import annotations

import numpy as np
import pytest

from wheresight.pocket.emoji import load_things
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def things():
    return load_things()


@pytest.fixture(scope="session")
def tokenizer(things):
    return train_tokenizer(things.names, Recipe().vocabulary)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
