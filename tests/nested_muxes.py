"""Muxes of muxes of arrays whose rows tell where they are from, for several tests."""

import numpy as np

from streamlearn import ShuffledMux, StochasticMux, from_arrays

SIZE = 5


def leaves(n, child=0, size=SIZE, shuffle=True):
    """Streams of rows that tell the number of the child, of the stream and of the row."""
    streams = []
    for leaf in range(n):
        X = np.array([[child, leaf, row] for row in range(size)], float)
        streams.extend(from_arrays(X, shuffle=shuffle))
    return streams


def children(n, n_leaves=4, n_active=2, lam=3, kind=StochasticMux, **settings):
    if kind is ShuffledMux:
        return [ShuffledMux(leaves(n_leaves, child, **settings)) for child in range(n)]
    return [StochasticMux(leaves(n_leaves, child, **settings), n_active, lam) for child in range(n)]


def rows_of(stream, n):
    """The rows of the next pass, and the streams that gave them."""
    iterator = stream._start(11, (0,))
    assert iterator.takes
    batches = []
    while n > 0 and (batch := iterator.take(min(n, 700))) is not None:
        batches.append(batch)
        n -= len(batch[1])
    iterator.close()
    X = np.concatenate([np.asarray(batch["X"]) for batch, _ in batches]).astype(int)
    who = np.concatenate([who for _, who in batches])
    assert (X[:, 0] == who).all()
    return [tuple(row) for row in X.tolist()]
