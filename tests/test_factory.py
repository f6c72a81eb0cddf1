"""StreamFactory: a stream for each value of a parameter, parameters that are set, searched and cloned without copies."""

import itertools
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from streamlearn import StochasticMux, Streamer, StreamFactory


def scaled(X, y=None, *, factor=1, shift=0):
    for x in X:
        yield factor * x + shift


def noisy(X, sigma, rng):
    yield from (X + sigma * rng.standard_normal(len(X))).tolist()


def lists(factory, *data):
    return [list(stream) for stream in factory(*data)]


def test_a_stream_for_each_value():
    factory = StreamFactory(scaled, factor=[1, 10])
    assert lists(factory, [1, 2]) == [[1, 2], [10, 20]]
    assert all(isinstance(stream, Streamer) for stream in factory([1, 2]))
    assert lists(factory, [1, 2], [0, 0]) == [[1, 2], [10, 20]]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_stream_for_each_combination_the_last_varying_fastest(kind):
    factors, shifts = [1, 10], [0, 5, 7]
    factory = StreamFactory(scaled, factor=kind(factors), shift=kind(shifts))
    assert lists(factory, [1]) == [[f + s] for f, s in itertools.product(factors, shifts)]


@pytest.mark.parametrize("value", [3, np.array([3]), np.float64(3)])
def test_another_value_is_passed_as_it_is(value):
    assert np.ravel(lists(StreamFactory(scaled, factor=value), [1, 2])).tolist() == [3, 6]


def test_without_values_there_is_one_stream():
    assert lists(StreamFactory(scaled), [1, 2]) == [[1, 2]]


def test_without_data():
    def count(n):
        yield from range(n)

    assert lists(StreamFactory(count, n=[1, 2])) == [[0], [0, 1]]


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match=r"factor .*is empty"):
        StreamFactory(scaled, factor=[])([1])


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        StreamFactory(3)


def test_a_call_that_does_not_fit_is_refused_when_streams_are_made():
    with pytest.raises(TypeError, match="scaled"):
        StreamFactory(scaled, wrong=1)([1])


def test_parameters_are_got_and_set():
    factory = StreamFactory(scaled, factor=[1, 10], shift=0)
    assert factory.get_params() == factory.get_params(deep=False) == {"factor": [1, 10], "shift": 0}
    assert factory.set_params(factor=[2], shift=1) is factory
    assert lists(factory, [1]) == [[3]]
    factory.get_params()["factor"] = None
    assert factory.get_params()["factor"] == [2]


def test_an_unknown_parameter_is_refused_and_changes_nothing():
    factory = StreamFactory(scaled, factor=1, shift=2)
    with pytest.raises(ValueError, match=r"Invalid parameter 'sigma' .*\['factor', 'shift'\]"):
        factory.set_params(factor=5, sigma=1)
    assert factory.get_params() == {"factor": 1, "shift": 2}


def test_a_clone_is_independent_and_shares_the_values():
    class Data(list):
        def __deepcopy__(self, memo):
            raise AssertionError

    data = Data([1])
    factory = StreamFactory(scaled, factor=data)
    cloned = clone(factory)
    assert cloned is not factory
    assert cloned.get_params()["factor"] is data
    cloned.set_params(factor=3)
    assert factory.get_params()["factor"] is data


def test_streams_take_seeds_from_their_mux():
    def sequence(random_state):
        streams = StreamFactory(noisy, sigma=[0.5, 1.0])(np.zeros(5))
        return list(StochasticMux(streams, 2, 5, random_state=random_state).generate(40))

    assert sequence(0) == sequence(0) != sequence(1)
    assert len(set(sequence(0))) == 40


def test_pickle():
    factory = pickle.loads(pickle.dumps(StreamFactory(scaled, factor=[1, 10])))
    assert lists(factory, [1, 2]) == [[1, 2], [10, 20]]


def test_repr_shows_no_data():
    factory = StreamFactory(scaled, factor=[1, 10], shift=np.zeros(1000))
    assert repr(factory) == "StreamFactory(scaled, factor=[1, 10], shift=<ndarray 1000 float64>)"


def test_a_parameter_that_was_not_given_is_named_with_what_to_do():
    with pytest.raises(
        ValueError, match=r"'shift' for factory .*: \['factor'\]; .* StreamFactory\(scaled, shift=\.\.\.\)"
    ):
        StreamFactory(scaled, factor=[1]).set_params(shift=1)
