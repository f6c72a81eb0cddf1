"""from_svmlight against scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from sklearn.linear_model import SGDClassifier

from streamlearn import StreamingEstimator, from_svmlight
from tests.sourcechecks import check_source


@pytest.fixture
def directory(tmp_path):
    for i, n in enumerate([23, 40, 7]):
        first = np.arange(1 + 100 * i, 1 + 100 * i + n)[:, None]
        X = sparse.hstack([first, sparse.random(n, 29, 0.2, random_state=i)], format="csr")
        dump_svmlight_file(X, np.arange(n) % 2, str(tmp_path / f"f{i}.svm"), zero_based=False)
    return tmp_path


def test_source(directory):
    loaded = [load_svmlight_file(str(path), n_features=30) for path in sorted(directory.glob("*.svm"))]
    check_source(
        lambda **options: from_svmlight(directory, n_features=30, block_bytes=500, **options),
        sparse.vstack([X for X, _ in loaded]).toarray(),
        np.concatenate([y for _, y in loaded]),
        ["f0.svm", "f1.svm", "f2.svm"],
    )


def test_trains_on_sparse_rows(directory):
    model = StreamingEstimator(SGDClassifier(), random_state=0).fit(from_svmlight(directory, n_features=30))
    assert model.n_samples_seen_ == 70


def test_refused(directory):
    with pytest.raises(ValueError, match=r"f0\.svm'.*Check n_features"):
        list(from_svmlight(directory, n_features=2)[0])
    (directory / "f0.svm").write_text("1 one:2\n")
    with pytest.raises(ValueError, match=r"f0\.svm'"):
        list(from_svmlight(directory, n_features=30)[0])
