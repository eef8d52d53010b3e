"""Facts about machine code and where it is kept."""

import pytest

from common.lstm import vectors

caching = pytest.importorskip("numba.core.caching")


def test_without_a_folder_for_its_cache_a_function_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # none can be written

    @vectors.compiled
    def double(number):
        return 2 * number

    assert double(21) == 42
