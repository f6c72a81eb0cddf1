"""Running generators in the function mux: paused, continued, and gone when they are exhausted."""

import itertools

import pytest

from streamlearn import mux


def test_running_generators_are_paused_and_continued():
    gens = [zip(itertools.repeat(i), itertools.count()) for i in range(3)]
    items = list(mux(gens, 500, 1, lam=4, random_state=0))
    for i in range(3):
        given = [j for g, j in items if g == i]
        assert given == list(range(len(given)))
        assert len(given) > 50
    assert len({i for i, _ in items[:40]}) > 1


def test_a_running_generator_may_be_active_twice():
    gen = (j for j in itertools.count())
    assert list(mux([gen], 300, 4, lam=3)) == list(range(300))


@pytest.mark.parametrize("flags", [{}, {"with_replacement": False, "revive": True}])
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("n_active", [1, 2, 3])
def test_running_generators_are_gone_when_exhausted(flags, prune, n_active):
    gens = [iter(range(5)), iter(range(10, 17))]
    items = list(mux(gens, None, n_active, lam=2, prune_empty_seeds=prune, **flags))
    assert sorted(items) == [*range(5), *range(10, 17)]


@pytest.mark.parametrize("prune", [True, False])
def test_streams_go_on_when_a_running_generator_is_gone(prune):
    items = list(mux([iter("xy"), "ab"], 200, 2, lam=3, prune_empty_seeds=prune))
    assert len(items) == 200
    assert items.count("x") == items.count("y") == 1


def test_a_running_generator_in_mode_once_is_visited_once():
    gen = iter(range(100))
    assert list(mux([gen], None, 1, lam=5, with_replacement=False, dist="constant")) == [0, 1, 2, 3, 4]
    assert next(gen) == 5  # nothing was taken beyond


def test_a_running_generator_is_the_callers_to_close():
    closed = []

    def watched():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    gen = watched()
    first = next(gen)
    assert [first, *mux([gen], 4, 1, lam=2)] == [0, 1, 2, 3, 4]
    assert not closed
    assert list(gen) == [5, 6, 7, 8, 9]
    assert closed
