"""from_csv against what pandas reads."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import SGDClassifier

from streamlearn import StreamingEstimator, from_csv
from tests.sourcechecks import check_source, drained


@pytest.fixture
def directory(tmp_path):
    for i, n in enumerate([23, 40, 7]):
        j = np.arange(100 * i, 100 * i + n)
        pd.DataFrame({"a": j, "b": j * 0.5, "label": j % 3}).to_csv(tmp_path / f"f{i}.csv", index=False)
    return tmp_path


def test_source(directory):
    frame = pd.concat([pd.read_csv(path) for path in sorted(directory.glob("*.csv"))])
    check_source(
        lambda **options: from_csv(directory, target="label", block_bytes=64, **options),
        frame[["a", "b"]].to_numpy(float),
        frame["label"].to_numpy(),
        ["f0.csv", "f1.csv", "f2.csv"],
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 5, 1000])
def test_lines_are_counted_as_pyarrow_reads_them(tmp_path, end, last, block_bytes):
    text = end.join(["a,b", "1,2", "", "3,4", "", "", "5,6"]) + end * last
    (tmp_path / "t.csv").write_bytes(text.encode())
    X = drained(from_csv(tmp_path, target=None, block_bytes=block_bytes, shuffle=False))[0]
    np.testing.assert_array_equal(X, [[1, 2], [3, 4], [5, 6]])


def test_types_are_those_of_the_first_block_unless_given(tmp_path):
    rows = ["1,u"] * 3 + ["x,v"]
    (tmp_path / "t.csv").write_text("a,label\n" + "\n".join(rows))
    (tmp_path / "late.csv").write_text("a,label\n1,u\n")
    first = [tmp_path / "late.csv", tmp_path / "t.csv"]
    with pytest.raises(ValueError, match=r"t\.csv.*give its type in column_types"):
        drained(from_csv(first, target="label"))
    X = from_csv(first, target="label", column_types={"a": pa.string()})[1]._column("X")
    assert isinstance(X, pd.DataFrame)
    assert X["a"].tolist() == ["1", "1", "1", "x"]


def test_columns_may_come_in_another_order(tmp_path):
    (tmp_path / "a.csv").write_text("x;y\n1;0\n")
    (tmp_path / "b.csv").write_text("y;x\n1;2\n")
    X, y, _ = drained(from_csv(tmp_path, target="y", delimiter=";", shuffle=False))
    assert sorted(zip(X[:, 0].tolist(), y.tolist(), strict=True)) == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv' is empty"),
        ("a,label\n", r"t\.csv' has column names, but no row"),
        ("a,lable\n1,0\n", r"t\.csv' has no column 'label'. Did you mean 'lable'"),
        ("a,label\n1,0\n1,2,3\n", r"t\.csv'.*Expected 2 columns, got 3"),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        from_csv(tmp_path, target="label")


def test_another_header_is_named_before_training(directory):
    (directory / "f2.csv").write_text("a,bb,label\n1,2,0\n")
    with pytest.raises(ValueError, match=r"f2\.csv' has no column 'b'. Did you mean 'bb'"):
        from_csv(directory, target="label")


def test_a_line_with_too_many_fields_names_file_and_stream(directory):
    with open(directory / "f1.csv", "a") as file:
        file.write("1,2,3,4\n")
    with pytest.raises(ValueError, match=r"f1\.csv'.*Expected 3 columns, got 4") as caught:
        drained(from_csv(directory, target="label"))
    assert any("raised by stream 'f1.csv', reading block 0" in note for note in caught.value.__notes__)


def test_a_file_that_is_deleted_while_training(directory):
    pool = from_csv(directory, target="label")
    assert [stream._n_samples for stream in pool] == [23, 40, 7]
    os.remove(directory / "f2.csv")
    with pytest.raises(FileNotFoundError, match=r"f2\.csv' is gone"):
        StreamingEstimator(SGDClassifier(), random_state=0).fit(pool)
