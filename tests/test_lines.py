"""Blocks of lines, against a reading character by character."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn._lines import Lines, line_ends


def walk(text, delimiter):
    """Where lines end, and whether a quote is open at the end."""
    ends, is_open, fresh, i = [], False, True, 0
    while i < len(text):
        c = text[i]
        if is_open:
            if c == '"' and text[i + 1 : i + 2] == '"':
                i += 1
            elif c == '"':
                is_open = fresh = False
        elif c == "\n" or (c == "\r" and text[i + 1 : i + 2] != "\n"):
            ends.append(i + 1)
            fresh = True
        elif c == '"' and fresh:
            is_open = True
        else:
            fresh = c == delimiter
        i += 1
    return ends, is_open


@given(st.text('ab;""\n\r', max_size=40))
def test_line_ends(text):
    ends, is_open = walk(text, ";")
    found, found_open = line_ends(text.encode(), b";", at_end=True)
    if text and (not ends or ends[-1] < len(text)):
        ends.append(len(text))
    assert (found.tolist(), found_open) == (ends, is_open)


@given(st.text("ab\n\r", max_size=40), st.integers(1, 50))
def test_without_quotes_every_newline_ends_a_line(tmp_path_factory, text, block_bytes):
    path = tmp_path_factory.mktemp("lines") / "t.txt"
    text = "x\n" + text
    path.write_bytes(text.encode())
    lines = pickle.loads(pickle.dumps(Lines(str(path), None, block_bytes)))
    blocks = [lines.read(i) for i in range(len(lines.counts))]
    assert b"".join(blocks) == text.encode()
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    for block, count in zip(blocks, lines.counts, strict=True):
        assert count == sum(1 for line in block.split(b"\n") if line not in (b"", b"\r"))


def test_a_last_return_waits_for_its_newline():
    assert line_ends(b"a\r", b",")[0].tolist() == []
    assert line_ends(b"a\r", b",", at_end=True)[0].tolist() == [2]
    assert line_ends(b"a\r\nb", b",")[0].tolist() == [3]


def test_a_file_that_is_gone(tmp_path):
    (tmp_path / "t.txt").write_text("a\nb\n")
    lines = Lines(str(tmp_path / "t.txt"), None, 2)
    np.testing.assert_array_equal(lines.counts, [1, 1])
    (tmp_path / "t.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"t\.txt' is gone: it was there when the pool was made"):
        lines.read(1)
