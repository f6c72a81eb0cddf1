"""from_huggingface against what the datasets give."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from sklearn.linear_model import SGDClassifier

from streamlearn import StreamingEstimator, from_huggingface
from tests.sourcechecks import check_source, drained

I = np.arange(70)  # noqa: E741
X, Y = np.column_stack([I, I * 0.5]), I % 3


@pytest.fixture
def dataset():
    return Dataset.from_dict({"a": X[:, 0], "b": X[:, 1], "label": Y, "kind": [f"k{i // 30}" for i in I]})


def test_by_a_column(dataset):
    check_source(
        lambda **options: from_huggingface(
            dataset, target="label", features=["a", "b"], by="kind", block_rows=8, **options
        ),
        X,
        Y,
        ["k0", "k1", "k2"],
    )


def test_by_ranges(dataset):
    pool = from_huggingface(dataset.remove_columns("kind").shuffle(seed=0), target="label", n_streams=4)
    assert pool.names[0] == "rows 0 to 17"
    np.testing.assert_array_equal(np.sort(drained(pool)[0][:, 0]), I)


def test_iterable(dataset):
    pool = from_huggingface(
        dataset.to_iterable_dataset(num_shards=3), target="label", features=["a", "b"], block_rows=10
    )
    assert pool.names == ("shard 0", "shard 1", "shard 2")
    batches = [batch for stream in pool for batch in stream]
    np.testing.assert_array_equal(np.sort(np.concatenate([batch["X"][:, 0] for batch in batches])), I)
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1, 2], random_state=0).fit(pool)
    assert model.n_samples_seen_ == 70
    assert len(list(pool[0])) == len(list(pool[0]))


def test_refused(dataset):
    with pytest.raises(TypeError, match="several splits: pass one of them, as dataset\\['train'\\]"):
        from_huggingface(DatasetDict(train=dataset), target="label")
    with pytest.raises(TypeError, match="must be a datasets"):
        from_huggingface([1], target="label")
    with pytest.raises(ValueError, match="Did you mean 'label'"):
        from_huggingface(dataset, target="lable")
    with pytest.raises(ValueError, match="Did you mean 'kind'"):
        from_huggingface(dataset, target="label", by="knid")
    with pytest.raises(ValueError, match="exclude each other"):
        from_huggingface(dataset, target="label", by="kind", n_streams=2)
    with pytest.raises(ValueError, match="more than the 70 rows"):
        from_huggingface(dataset, target="label", n_streams=71)
    with pytest.raises(ValueError, match="go with a Dataset"):
        from_huggingface(dataset.to_iterable_dataset(), target="label", by="kind")
