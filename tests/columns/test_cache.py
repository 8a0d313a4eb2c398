"""The cache never holds more than its budget."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semistruct.columns.cache import DecodeCache

operations = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), operations)
def test_budget_holds_and_values_are_right(budget, puts):
    cache = DecodeCache(budget)
    last: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, np.full(size, key, dtype=np.uint8))
        last[key] = size
        held = [cache.get(k) for k in last]
        assert cache.nbytes == sum(array.nbytes for array in held if array is not None) <= budget
        for k, array in zip(last, held, strict=True):
            assert array is None or (len(array) == last[k] and (array == k).all())


def test_least_recently_used_goes_first():
    cache = DecodeCache(2)
    one = np.zeros(1, dtype=np.uint8)
    cache.put("a", one)
    cache.put("b", one)
    cache.get("a")
    cache.put("c", one)
    assert cache.get("b") is None and cache.get("a") is not None and len(cache) == 2


def test_pickle_is_empty():
    cache = DecodeCache(100)
    cache.put("a", np.zeros(10))
    again = pickle.loads(pickle.dumps(cache))
    assert again.max_bytes == 100 and len(again) == again.nbytes == 0


def test_threads():
    cache = DecodeCache(50)

    def work(k: int) -> None:
        cache.put(k % 20, np.full(5, k % 20, dtype=np.uint8))
        found = cache.get(k % 7)
        assert found is None or (found == k % 7).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2000)))
    assert cache.nbytes <= 50 and cache.nbytes == 5 * len(cache)
