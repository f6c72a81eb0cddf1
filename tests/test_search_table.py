"""Which rows are the best, and what cv_results_ is made of."""

import math

import numpy as np
from sklearn.linear_model import SGDClassifier

from streamlearn._candidates import Outcome
from streamlearn._search_table import Row, best_index, best_of, columns


def rows(*scores, n_batches=1, iteration=0, params=None):
    return [
        Row(i, {} if params is None else params[i], 0, iteration, n_batches, [Outcome({"test": s}) for s in each])
        for i, each in enumerate(scores)
    ]


def test_the_best_in_their_order_and_none_that_is_nan():
    given = rows((1, 1), (math.nan, 9), (3, 1), (1, 1), (0, 4))
    assert [row.candidate for row in best_of(given, 2)] == [2, 4]
    assert [row.candidate for row in best_of(given, 3)] == [0, 2, 4]  # of the equal ones the first
    assert [row.candidate for row in best_of(given, 9)] == [0, 2, 3, 4]
    assert best_of(rows((math.nan,)), 1) == []


def test_the_best_row_is_among_those_trained_the_longest():
    given = [*rows((9,), (8,)), *rows((1,), (2,), (2,), n_batches=3, iteration=1)]
    assert best_index(given) == 3
    given = [*rows((7,), (8,)), *rows((math.nan,), n_batches=3, iteration=1)]
    assert best_index(given) == 1


def test_parameters_are_numbers_or_objects_and_masked_where_there_are_none():
    inner = SGDClassifier()
    params = [{"a": 1, "b": [1, 2]}, {"a": 2.5, "c": "x"}, {"b": None, "d": True, "e": inner}]
    table = columns(rows((1,), (2,), (3,), params=params), False, False)
    assert table["param_a"].dtype == float
    assert table["param_a"].tolist() == [1, 2.5, None]
    assert table["param_b"].tolist() == [[1, 2], None, None]
    assert table["param_b"].mask.tolist() == [False, True, False]
    assert table["param_c"].dtype == object
    assert table["param_d"].dtype == bool
    assert table["param_e"][2] is inner
    assert table["param_max_batches"].tolist() == [1, 1, 1]


def test_means_and_ranks():
    table = columns(rows((1, 3), (5, 5), (math.nan, 1), (4, 6)), False, True)
    np.testing.assert_array_equal(table["mean_test_score"], [2, 5, math.nan, 5])
    np.testing.assert_array_equal(table["std_test_score"], [1, 0, math.nan, 1])
    assert table["rank_test_score"].tolist() == [3, 1, 4, 1]
    assert table["bracket"].tolist() == [0] * 4
    np.testing.assert_array_equal(table["split1_test_score"], [3, 5, 1, 6])
