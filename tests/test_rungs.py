"""The rungs of successive halving as scikit-learn has them, the brackets of Hyperband as its paper has them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.tree import DecisionTreeClassifier

from streamlearn._rungs import halving, hyperband

X, y = make_classification(60, random_state=0)


@pytest.mark.parametrize("n_candidates", [1, 2, 9, 24])
@pytest.mark.parametrize(("given", "least"), [("exhaust", None), ("smallest", 1), (5, 5)])
@pytest.mark.parametrize(("most", "factor"), [(5, 3), (81, 3), (100, 2)])
def test_halving_has_the_rungs_of_scikit_learn(n_candidates, given, least, most, factor):
    grid = {"random_state": list(range(n_candidates))}
    settings = {"resource": "max_depth", "min_resources": given, "max_resources": most, "factor": factor}
    search = HalvingGridSearchCV(DecisionTreeClassifier(), grid, cv=2, **settings).fit(X, y)
    rungs = halving(n_candidates, least, most, factor)
    assert [rung.n_candidates for rung in rungs] == search.n_candidates_
    assert [rung.n_batches for rung in rungs] == search.n_resources_


def test_exact_powers_count():
    assert len(halving(243, 1, 10**6, 3)) == 6
    assert len(halving(1000, 1, 1000, 10)) == 4


def test_hyperband_has_the_brackets_of_the_paper():
    """Table 1 of Li et al. (2018): R = 81, eta = 3."""
    brackets = hyperband(1, 81, 3)
    assert [[tuple(rung) for rung in bracket] for bracket in brackets] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@given(
    least=st.integers(1, 50),
    times=st.integers(1, 100),
    factor=st.floats(1.5, 6),
    n_candidates=st.none() | st.integers(1, 300),
)
def test_what_holds_for_all_brackets(least, times, factor, n_candidates):
    brackets = hyperband(least, least * times, factor, n_candidates)
    if n_candidates is not None:
        assert sum(bracket[0].n_candidates for bracket in brackets) == n_candidates
    for bracket in brackets:
        assert bracket[-1].n_batches == least * times
        for before, after in itertools.pairwise(bracket):
            assert least <= before.n_batches <= after.n_batches
            assert 1 <= after.n_candidates <= before.n_candidates


@given(n_candidates=st.integers(1, 500), least=st.none() | st.integers(1, 20), factor=st.floats(1.5, 6))
def test_what_holds_for_all_rungs(n_candidates, least, factor):
    rungs = halving(n_candidates, least, 200, factor)
    assert rungs[0].n_candidates == n_candidates
    assert all(1 <= rung.n_batches <= 200 for rung in rungs)
