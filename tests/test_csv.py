"""from_csv against what pandas reads."""

import csv
import importlib
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from streamlearn import StreamingEstimator, _lines, from_csv
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


def read(path, **options):
    """Values of a file with columns of texts x and y, as a stream gives them."""
    kinds = {"x": pa.string(), "y": pa.string()}
    stream = from_csv(path, target=None, column_types=kinds, shuffle=False, **options)[0]
    assert len(list(stream)) == stream._n_samples
    return stream._column("X").to_numpy().tolist()


@given(
    rows=st.lists(st.tuples(*[st.text('ab,;"\n\r', min_size=1)] * 2), min_size=1),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=st.sampled_from(",;"),
    block_bytes=st.integers(1, 40),
)
def test_quoted_values_may_hold_anything(tmp_path_factory, rows, end, quoting, delimiter, block_bytes):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    if quoting == csv.QUOTE_MINIMAL:  # which leaves carriage returns without quotes
        rows = [[value.replace("\r", "a") for value in row] for row in rows]
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator=end, quoting=quoting, delimiter=delimiter).writerows([["x", "y"], *rows])
    assert read(path, block_bytes=block_bytes, delimiter=delimiter) == list(map(list, rows))


@given(body=st.text('ab,"\n\r ', max_size=40), block_bytes=st.integers(1, 40))
def test_any_text_is_read_as_pyarrow_reads_it_or_refused(tmp_path_factory, body, block_bytes):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(b"x,y\n" + body.encode())
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys("xy", pa.string()), strings_can_be_null=True)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        whole = pa.csv.read_csv(path, parse_options=parse, convert_options=convert).to_pydict()
    except pa.ArrowInvalid:
        whole = None
    try:
        found = read(path, block_bytes=block_bytes)
    except ValueError as error:
        found, told = None, str(error)
    if found is None:
        assert ("but the file has columns: 2" if whole is None else "no row") in told or "never closed" in told
    else:
        found = [[None if value != value else value for value in row] for row in found]
        assert found == list(map(list, zip(*whole.values(), strict=True)))


def test_a_quote_that_is_never_closed(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text('x,y\n1,2\n3,"4\n5,6\n')
    with pytest.raises(ValueError, match=r"t\.csv': a quote is opened and never closed, in or after the line '3,"):
        from_csv(path, target="y")[0]._n_samples  # noqa: B018
    monkeypatch.setattr(_lines, "_LONGEST_LINE", 5)
    with pytest.raises(ValueError, match="a line of more than"):
        from_csv(path, target="y", block_bytes=4)[0]._n_samples  # noqa: B018


def test_names_may_be_quoted_and_follow_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufeff"a, b","c\nd"\r\n1,0\r\n'.encode())
    assert from_csv(tmp_path, target="c\nd", features=["a, b"])[0]._column("X").tolist() == [[1.0]]
    (tmp_path / "t.csv").write_text("a,a,b\n1,2,0\n")
    with pytest.raises(ValueError, match="has 2 columns 'a'"):
        from_csv(tmp_path, target="b")


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


def test_null_targets_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("x,label\n1,0\n2,\n")
    with pytest.raises(ValueError, match="the target 'label' has 1 nulls: leave such rows out of the files"):
        from_csv(tmp_path, target="label")[0]._column("y")


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
        ("a,label\n1,0\n1,2,3\n", r"t\.csv', line 3 has fields: 3, but the file has columns: 2"),
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


@pytest.mark.parametrize("line", ["1,2,3,4", '1,2,"3",4', "1,2"])
def test_a_line_with_other_fields_is_named_before_training(directory, line):
    with open(directory / "f1.csv", "a") as file:
        file.write('"1\n",2,3\n\n' + line + "\n1,2,3\n")
    wrong = rf"f1\.csv', line 45 has fields: {line.count(',') + 1}, but the file has columns: 3. It is '{line}'"
    with pytest.raises(ValueError, match=wrong):
        from_csv(directory, target="label", block_bytes=100)[1]._n_samples  # noqa: B018


def test_a_file_that_is_deleted_while_training(directory):
    pool = from_csv(directory, target="label")
    assert [stream._n_samples for stream in pool] == [23, 40, 7]
    os.remove(directory / "f2.csv")
    with pytest.raises(FileNotFoundError, match=r"f2\.csv' is gone"):
        StreamingEstimator(SGDClassifier(), random_state=0).fit(pool)


@pytest.mark.parametrize("kind", ["gzip", "bz2", "lzma"])
def test_compressed_files_are_told(kind, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(importlib.import_module(kind).compress(b"a,y\n1,0\n2,1\n"))
    with pytest.raises(
        ValueError, match=r"x\.csv' is compressed \(.*\), which cannot be read by the block: decompress"
    ):
        from_csv(str(path), target="y")


def test_a_column_may_be_called_as_a_compressed_file_begins(tmp_path):
    (tmp_path / "x.csv").write_text("BZh9,y\n1,0\n2,1\n")
    assert drained(from_csv(str(tmp_path / "x.csv"), target="y", shuffle=False))[0].tolist() == [[1.0], [2.0]]


def test_text_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,s,y\n1,caf\u00e9,0\n2,the,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.csv': column 's' holds text that is not UTF-8: convert the file"):
        from_csv(str(tmp_path / "latin.csv"), target="y")
    assert len(from_csv(str(tmp_path / "latin.csv"), target="y", features=["a"])) == 1
    (tmp_path / "wide.csv").write_bytes("a,y\n1,0\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"wide\.csv' is text in UTF-16"):
        from_csv(str(tmp_path / "wide.csv"), target="y")
