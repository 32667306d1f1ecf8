"""Small computations keep to one thread, and give it back."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from resnet_kmeans.clustering.threads import SMALL_UP_TO, one_thread, one_thread_if_small


@pytest.fixture(autouse=True)
def _two_threads():
    """Have more than one thread, whatever the machine."""
    with threadpool_limits(2):
        yield


def n_threads():
    return [library["num_threads"] for library in threadpool_info()]


def test_one_thread_is_used_within_the_context_only():
    before = n_threads()
    assert set(before) == {2}
    with one_thread():
        assert set(n_threads()) == {1}
    assert n_threads() == before


def test_many_rows_use_all_threads():
    before = n_threads()
    with one_thread_if_small(SMALL_UP_TO + 1):
        assert n_threads() == before
    with one_thread_if_small(SMALL_UP_TO):
        assert set(n_threads()) == {1}
