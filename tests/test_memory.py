"""Memory that arrays leave is taken over, and never while something refers to it."""

import gc
import mmap
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn import _memory
from streamlearn._memory import Memory, empty_bytes

LARGE = 2**18


@pytest.fixture
def mapped(monkeypatch):
    """Weak references to all memory that is taken from the system."""
    taken, real = [], mmap.mmap

    def take(*args, **options):
        memory = real(*args, **options)
        taken.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(_memory.mmap, "mmap", take)
    return taken


def test_an_array_takes_over_what_the_last_one_left(mapped):
    with Memory():
        for n in (LARGE + 1, 2 * LARGE, 300_000, LARGE + 1):
            array = empty_bytes(n)
            assert array.shape == (n,)
            assert array.flags.writeable
            array[:] = 1
            del array
    assert len(mapped) == 1


def test_what_is_much_smaller_takes_no_large_memory(mapped):
    with Memory():
        empty_bytes(64 * LARGE)[:] = 1
        empty_bytes(LARGE)[:] = 1
    assert len(mapped) == 2


def test_small_arrays_and_those_outside_come_from_numpy(mapped):
    with Memory():
        assert empty_bytes(LARGE - 1).base is None
    assert empty_bytes(4 * LARGE).base is None
    assert not mapped


def test_an_interrupt_within_the_statement_leaves_nothing_in_use(mapped):
    interrupted = Memory()
    interrupted.__enter__()  # as after an interrupt before the body is reached
    with Memory():
        pass
    assert empty_bytes(4 * LARGE).base is None
    interrupted.__enter__()
    del interrupted
    gc.collect()
    assert empty_bytes(4 * LARGE).base is None
    assert not mapped


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from([LARGE, LARGE + 1, 3 * LARGE, 9 * LARGE])), min_size=1, max_size=40
    )
)
def test_no_two_arrays_share_memory(steps):
    held = {}
    memory = Memory()
    for number, (slot, n_bytes) in enumerate(steps):
        held.pop(slot, None)
        with memory:
            array = empty_bytes(n_bytes)
        array[:: n_bytes - 1] = number  # its first byte and its last
        held[slot] = (array[: n_bytes // 2], array[n_bytes // 2 :], number)  # views keep it
        del array
        assert all((first[0], last[-1]) == (n, n) for first, last, n in held.values())


def test_views_and_arrays_of_other_kinds_keep_the_memory(mapped):
    memory = Memory()
    with memory:
        view = empty_bytes(LARGE).view(np.float64).reshape(-1, 4)[5:]
        view[:] = 0.5
        other = empty_bytes(LARGE)
    other[:] = 255
    assert (view == 0.5).all()
    assert len(mapped) == 2


def test_all_is_given_back_with_the_last_that_refers_to_it(mapped):
    memory = Memory()
    with memory:
        kept, left = empty_bytes(LARGE), empty_bytes(LARGE)
    del left
    assert all(reference() is not None for reference in mapped)
    del memory
    gc.collect()
    assert [reference() is not None for reference in mapped] == [True, False]
    kept[:] = 1
    del kept
    gc.collect()
    assert all(reference() is None for reference in mapped)


def test_what_fits_nothing_makes_room_for_what_is_new(mapped):
    with Memory():
        small = [empty_bytes(LARGE) for _ in range(3)]
        del small
        large = empty_bytes(100 * LARGE)
        assert [reference() is not None for reference in mapped] == [False, False, False, True]
        del large


def test_inner_memory_is_used_and_then_none(mapped):
    with Memory():
        with Memory():
            assert empty_bytes(LARGE).base is not None
        assert empty_bytes(LARGE).base is None
    assert len(mapped) == 1


def test_threads_use_one_memory_at_once():
    memory, wrong = Memory(), []

    def work(number):
        for _ in range(300):
            with memory:
                array = empty_bytes(LARGE)
            array[::4096] = number
            if (array[::4096] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_memory_numpy_says_so(monkeypatch):
    def refuse(*args, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(_memory.mmap, "mmap", refuse)
    with Memory():
        assert len(empty_bytes(LARGE)) == LARGE
        with pytest.raises(MemoryError, match="Unable to allocate"):
            empty_bytes(2**60)
