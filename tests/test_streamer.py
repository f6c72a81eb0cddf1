"""Streamer: a restartable source of items; what it refuses, its seeds, copies, pickles and repr."""

import copy
import functools
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from streamlearn import ChainMux, StochasticMux, Streamer, StreamPool, from_arrays, mux, streamable


def count(start, stop=10):
    yield from range(start, stop)


@streamable
def count_to(n, *, step=1):
    """Count."""
    yield from range(0, n, step)


def seeds(n, random_state):
    yield from [random_state] * n


def draws(n, rng):
    yield from rng.random(n).tolist()


# -- starts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        Streamer(count, 3, stop=6),
        Streamer([3, 4, 5]),
        Streamer(range(3, 6)),
        Streamer(lambda: [3, 4, 5]),
        Streamer(functools.partial(count, 3), stop=6),
        Streamer(Streamer(count, 3, 6)),
        Streamer(lambda: Streamer(count, 3, 6)),
        Streamer(np.arange(3, 6)),
    ],
)
def test_every_start_is_afresh(stream):
    assert list(stream) == list(stream) == list(stream.generate()) == [3, 4, 5]


# -- what is refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [count(0), iter([1]), map(str, [1]), enumerate([1])])
def test_a_one_shot_iterator_is_refused_with_advice(running):
    with pytest.raises(TypeError, match=r"running .* Pass the function and its arguments"):
        Streamer(running)


@pytest.mark.parametrize("bad", [3, None, 1.5, object()])
def test_neither_callable_nor_iterable_is_refused(bad):
    with pytest.raises(TypeError, match="callable that returns an iterable, an iterable container or a Streamer"):
        Streamer(bad)


def test_arguments_for_a_container_are_refused():
    with pytest.raises(TypeError, match="not callable"):
        Streamer([1, 2], 3)
    with pytest.raises(TypeError, match="not callable"):
        Streamer([1, 2], n=3)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"end": 3}), ((1,), {"start": 3})], ids=str
)
def test_arguments_that_do_not_fit_are_refused_at_construction(args, kwargs):
    with pytest.raises(TypeError, match="count"):
        Streamer(count, *args, **kwargs)


@pytest.mark.parametrize("value", [3, None])
def test_a_callable_that_returns_no_iterable_is_named(value):
    def wrong():
        return value

    with pytest.raises(TypeError, match="wrong must return an iterable, got"):
        list(Streamer(wrong))


# -- seeds --------------------------------------------------------------------------------------------------------------------


def test_alone_every_start_gets_fresh_entropy():
    stream = Streamer(seeds, 1)
    given_seeds = [next(iter(stream)) for _ in range(20)]
    assert len(set(given_seeds)) == 20
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in given_seeds)
    assert list(Streamer(draws, 3)) != list(Streamer(draws, 3))


def test_both_parameters_are_filled():
    def both(rng, random_state=None):
        assert isinstance(rng, np.random.Generator)
        assert isinstance(random_state, int)
        yield 1

    assert list(Streamer(both)) == [1]


def test_a_given_seed_is_kept():
    assert list(Streamer(seeds, 2, random_state=5)) == list(Streamer(seeds, 2, 5)) == [5, 5]
    assert list(Streamer(seeds, 1, random_state=None)) == [None]


def test_a_class_that_takes_a_random_state_gets_one():
    class Source:
        def __init__(self, n, random_state=None):
            self.items = [random_state] * n

        def __iter__(self):
            return iter(self.items)

    (seed,) = Streamer(Source, 1)
    assert isinstance(seed, int)


def test_seeds_come_through_a_wrapping_streamer_and_a_returned_one():
    plain = StochasticMux([Streamer(seeds, 4)], 1, 4, dist="constant", random_state=0)
    wrapped = StochasticMux([Streamer(Streamer(seeds, 4))], 1, 4, dist="constant", random_state=0)
    returned = StochasticMux([Streamer(lambda: Streamer(seeds, 4))], 1, 4, dist="constant", random_state=0)
    assert list(plain.generate(12)) == list(wrapped.generate(12)) == list(returned.generate(12))


def test_a_streamer_around_a_seeded_mux_passes_like_the_mux():
    letters = list("abcdefghij")
    bare = StochasticMux([letters, letters], 2, 2, mode="exhaustive", random_state=0)
    wrapped = Streamer(copy.copy(bare))
    first, second = list(wrapped), list(wrapped)
    assert first == list(bare)
    assert second == list(bare)
    assert first != second
    cycled = list(Streamer(copy.copy(bare)).cycle(40))
    assert cycled[:20] != cycled[20:]


# -- constant: copies, clones, pickles ----------------------------------------------------------------------------------------

STREAMS = [
    Streamer([1, 2]),
    Streamer(count, 3),
    count_to(3),
    Streamer(count_to(3)),
    from_arrays(np.arange(4.0))[0],
    StreamPool(["ab"], weights=[1]),
]


@pytest.mark.parametrize("stream", STREAMS, ids=repr)
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, clone])
def test_copies_are_the_stream_itself(stream, copier):
    assert copier(stream) is stream
    assert copier([stream])[0] is stream


def test_arguments_are_not_copied():
    class Uncopied(list):
        def __deepcopy__(self, memo):
            raise AssertionError

        __copy__ = __reduce_ex__ = __deepcopy__

    data = Uncopied([1, 2])
    stream = Streamer(data)
    assert clone(copy.deepcopy(stream)).streamer is data
    held = Streamer(list, data)
    assert copy.deepcopy(held).args[0] is data
    mux_of_both = StochasticMux([stream, held], 1)
    assert list(clone(copy.deepcopy(mux_of_both)).generate(1)) in ([1], [2])


def test_parts_are_readable_and_fixed():
    stream = Streamer(count, 3, stop=6)
    assert (stream.streamer, stream.args, stream.kwargs) == (count, (3,), {"stop": 6})
    stream.kwargs["stop"] = 9
    assert list(stream) == [3, 4, 5]
    for name in ("streamer", "args", "kwargs"):
        with pytest.raises(AttributeError):
            setattr(stream, name, None)


@pytest.mark.parametrize("stream", STREAMS[:4], ids=repr)
def test_pickle_running_or_not(stream):
    expected = list(stream)
    running = iter(stream)
    next(running)
    for _ in range(2):
        stream = pickle.loads(pickle.dumps(stream))
        assert list(stream) == expected


def test_pickle_of_an_array_stream():
    stream = from_arrays(np.arange(6.0).reshape(3, 2), [0, 1, 2], shuffle=False)[0]
    again = pickle.loads(pickle.dumps(stream))
    assert [item["X"].tolist() for item in again] == [[0, 1], [2, 3], [4, 5]]


def test_pickle_of_what_cannot_be_pickled_fails_at_pickling_only():
    stream = Streamer(lambda: [1])
    assert list(stream) == [1]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(stream)


# -- streamable ---------------------------------------------------------------------------------------------------------------


def test_streamable_returns_streamers_and_keeps_the_name():
    stream = count_to(5, step=2)
    assert isinstance(stream, Streamer)
    assert list(stream) == list(stream) == [0, 2, 4]
    assert (count_to.__name__, count_to.__doc__) == ("count_to", "Count.")


def test_streamable_takes_seeds():
    made = streamable(seeds)(3)
    assert len(set(made)) == 1
    assert list(streamable(seeds)(2, random_state=3)) == [3, 3]
    pool = [streamable(seeds)(2), streamable(seeds)(2)]
    first = list(StochasticMux(pool, 1, 2, dist="constant", random_state=1).generate(20))
    assert first == list(StochasticMux(pool, 1, 2, dist="constant", random_state=1).generate(20))
    assert len(set(first)) == 10


def test_streamable_checks_arguments():
    with pytest.raises(TypeError, match="count_to"):
        count_to(3, 4)


def test_streamable_refuses_what_is_not_callable():
    with pytest.raises(TypeError, match="function"):
        streamable([1, 2])


def test_streamable_decorates_methods():
    class Source:
        def __init__(self, n):
            self.n = n

        @streamable
        def items(self):
            yield from range(self.n)

    assert [list(Source(n).items()) for n in (1, 2)] == [[0], [0, 1]]


# -- repr ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (Streamer(count, 3, stop=6), "Streamer(count, 3, stop=6)"),
        (count_to(3), "Streamer(count_to, 3)"),
        (Streamer("ab"), "Streamer('ab')"),
        (Streamer(list, np.zeros((1000, 3))), "Streamer(list, <ndarray 1000x3 float64>)"),
        (Streamer(list(range(100))), "Streamer(<list of 100>)"),
    ],
)
def test_repr_shows_the_call_and_no_data(stream, text):
    assert repr(stream) == text


@pytest.mark.parametrize("data", [np.zeros(10**6), "x" * 10**6, [0] * 10**6, dict.fromkeys(range(10**5))])
def test_repr_is_short(data):
    assert len(repr(Streamer(list, data))) < 120


def test_a_mux_is_a_stream_of_streams():
    nested = Streamer(mux, [Streamer(count, 0), ChainMux([[1], [2]])], 7, 2, lam=2)
    assert len(list(nested)) == 7
    assert set(nested) <= set(range(10))
