"""The compiled hashes are the libraries'."""

from __future__ import annotations

import random

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from agents.intake import hashing
from models.demand import compiled
from stream.events.partition import murmur2


def test_hashes_are_the_libraries_of_every_length() -> None:
    """Rows keep their hashes, and SKUs their shelves, whichever loop read them."""
    if not compiled.COMPILES:
        pytest.skip("nothing is compiled here: these hashes are not used")
    rng = random.Random(5)
    for size in range(1, hashing.MOST_BYTES + 1):
        text = rng.randbytes(size)
        data = np.frombuffer(b"--" + text, np.uint8)
        assert int(hashing.xxh3(np.frombuffer(text, np.uint8), size)) == xxh3_64_intdigest(text), size
        assert int(hashing.murmur2(data, 2, size)) == murmur2(text) & 0x7FFFFFFF, size
