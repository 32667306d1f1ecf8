"""What was computed of rows is kept for the next who asks, in bounds."""

import threading

import numpy as np
import pytest

from resnet_kmeans.clustering import shared_work
from resnet_kmeans.clustering.shared_work import shared


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    monkeypatch.setattr(shared_work, "_kept", type(shared_work._kept)())
    return []


@pytest.fixture
def double(calls):
    def compute(rows, *parameters):
        calls.append(parameters)
        return (rows * 2,)

    return compute


def test_equal_rows_are_computed_once(double, calls):
    rows = np.arange(6.0).reshape(2, 3)
    first = shared(double, rows, 1)
    assert shared(double, rows.copy(), 1)[0] is first[0]
    np.testing.assert_array_equal(first[0], rows * 2)
    assert calls == [(1,)]


@pytest.mark.parametrize(
    ("rows", "parameter"),
    [
        (np.arange(6.0).reshape(2, 3), 2),
        (np.arange(6.0).reshape(3, 2), 1),
        (np.arange(6.0).reshape(2, 3) + 1, 1),
        (np.arange(6).reshape(2, 3), 1),
    ],
    ids=["parameter", "shape", "content", "dtype"],
)
def test_other_rows_or_parameters_are_computed_again(double, calls, rows, parameter):
    shared(double, np.arange(6.0).reshape(2, 3), 1)
    shared(double, rows, parameter)
    assert len(calls) == 2


def test_cached_arrays_are_read_only(double):
    with pytest.raises(ValueError, match="read-only"):
        shared(double, np.zeros(2))[0][0] = 1


def test_the_least_recently_used_arrays_are_evicted(double, calls, monkeypatch):
    monkeypatch.setattr(shared_work, "MAX_KEPT", 2)
    for number in (0, 1, 0, 2, 0, 1):
        shared(double, np.full(3, number))
    assert len(calls) == 4
    assert len(shared_work._kept) == 2


def test_the_size_is_bounded_but_the_last_result_is_kept(double, calls, monkeypatch):
    monkeypatch.setattr(shared_work, "MAX_BYTES", 100)
    for number in (0, 1, 1):
        shared(double, np.full(20, number))
    assert len(calls) == 2
    assert len(shared_work._kept) == 1


def test_threads_share_results(double):
    rows, found = np.arange(3.0), []
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        found.extend(shared(double, rows + number % 5)[0].sum() for number in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([6.0 + 6 * (n % 5) for n in range(200)] * 4)
