"""from_svmlight: a pool of streams of sparse samples from svmlight / libsvm files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES, BlockSource
from ._files import list_files, short_names
from ._lines import BLOCK_BYTES, Lines
from ._pool import StreamPool
from ._sources import check_bool, check_options, stream_pool
from ._visits import check_count


class SvmlightSource(BlockSource):
    """Blocks of lines of a file of sparse rows."""

    parts = ("X", "y")

    def __init__(self, name: str, lines: Lines, n_features: int, zero_based: bool) -> None:
        self.name = name
        self._lines = lines
        self._n_features = n_features
        self._zero_based = zero_based

    def rows(self) -> np.ndarray:
        return self._lines.counts

    def read(self, block: int) -> dict[str, Any]:
        from sklearn.datasets import load_svmlight_file  # which imports much that nothing else here needs

        try:
            X, y = load_svmlight_file(
                io.BytesIO(self._lines.read(block)), n_features=self._n_features, zero_based=self._zero_based
            )
        except ValueError as error:
            raise ValueError(
                f"{self._lines.path!r}: {str(error).rstrip('.')}. Check n_features and zero_based, or the file."
            ) from error
        return {"X": X, "y": y}

    def where(self, block: int) -> str:
        return self._lines.where(block)


def from_svmlight(
    paths: Any,
    *,
    n_features: int,
    zero_based: bool = False,
    block_bytes: int = BLOCK_BYTES,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
    storage_options: dict[str, Any] | None = None,
) -> StreamPool:
    """Make a pool of streams of sparse samples from svmlight files, a stream for each file.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Files, patterns, directories (of .svm, .svmlight, .libsvm and .txt), or fsspec URLs of any of them. Lines that are only a
        comment are not understood.
    n_features : int
        Columns of ``X``: a block does not tell.
    zero_based : bool, default=False
        Whether the first feature has index 0.
    block_bytes : int, default=2**21
        Text that is read and shuffled at once.
    window, shuffle, prefetch, cache_bytes, storage_options
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        ``X`` is a CSR matrix.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or a pattern matches nothing.
    ValueError
        If a file is empty, before training; if a line cannot be read, or has an index beyond ``n_features``, when it is read.
        (That a file was cut short cannot be told, since any beginning of one is a file.)

    See Also
    --------
    sklearn.datasets.load_svmlight_file : Read a file as a whole.

    Examples
    --------
    >>> import os, tempfile
    >>> from streamlearn import from_svmlight
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "texts.svm")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 1:0.5 3:1\\n0 2:1\\n")
    ...     pool = from_svmlight(path, n_features=3, shuffle=False)
    ...     [item["X"].toarray().tolist() for item in pool[0]]
    [[[0.5, 0.0, 1.0]], [[0.0, 1.0, 0.0]]]
    """
    options = check_options(window, shuffle, prefetch, cache_bytes, block_bytes=block_bytes)
    check_count("n_features", n_features)
    check_bool("zero_based", zero_based)
    files = list_files(paths, (".svm", ".svmlight", ".libsvm", ".txt"), storage_options)
    sources = [
        SvmlightSource(name, Lines(path, storage_options, block_bytes), n_features, bool(zero_based))
        for name, path in zip(short_names(files), files, strict=True)
    ]
    return stream_pool(sources, options, repr(paths))
