"""Learn from many streams with scikit-learn.

In the order in which data flows:

- streams: :class:`Streamer`, a restartable source of items, and :func:`streamable`, which makes functions return them;
- pools: :class:`StreamPool`, streams with weights and names, and :func:`from_arrays`, which makes one from arrays;
- pools of what does not fit in memory, read block by block: :func:`from_parquet`, :func:`from_csv`,
  :func:`from_npy`, :func:`from_hdf5`, :func:`from_zarr`, :func:`from_svmlight` (files), :func:`from_sql`,
  :func:`from_dask`, :func:`from_huggingface`; and :func:`from_dataframe`, which makes one from a frame in memory;
- muxes, streams that interleave a pool: :func:`mux`, :class:`StochasticMux`, :class:`ShuffledMux`,
  :class:`RoundRobinMux`, :class:`ChainMux`;
- learning: :class:`StreamLearner` takes a stream batch by batch; :class:`StreamingEstimator` is a scikit-learn estimator
  that builds the mux itself, from arrays, a pool, or the streams of a :class:`StreamFactory`;
- scoring: :func:`stream_scorer` makes any scikit-learn score work on held-out streams;
- search: :class:`SuccessiveHalvingSearchCV` and :class:`HyperbandSearchCV` train candidates on instead of starting again.
"""

from importlib.metadata import PackageNotFoundError, version

from joblib import register_parallel_backend

from ._chunked import from_hdf5, from_zarr
from ._csv import from_csv
from ._dask import from_dask
from ._dataframe import from_dataframe
from ._estimator import StreamingEstimator
from ._factory import StreamFactory
from ._forked import ForkBackend
from ._huggingface import from_huggingface
from ._learner import StreamLearner
from ._mux import StochasticMux, mux
from ._npy import from_npy
from ._parquet import from_parquet
from ._plain_muxes import ChainMux, RoundRobinMux, ShuffledMux
from ._pool import StreamPool, from_arrays
from ._scoring import stream_scorer
from ._search import HyperbandSearchCV, SuccessiveHalvingSearchCV
from ._sql import from_sql
from ._streamer import Streamer, streamable
from ._svmlight import from_svmlight

register_parallel_backend("streamlearn-fork", ForkBackend)

try:
    __version__ = version("streamlearn")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0.0.0"

__all__ = [
    "ChainMux",
    "HyperbandSearchCV",
    "RoundRobinMux",
    "ShuffledMux",
    "StochasticMux",
    "StreamFactory",
    "StreamLearner",
    "StreamPool",
    "Streamer",
    "StreamingEstimator",
    "SuccessiveHalvingSearchCV",
    "from_arrays",
    "from_csv",
    "from_dask",
    "from_dataframe",
    "from_hdf5",
    "from_huggingface",
    "from_npy",
    "from_parquet",
    "from_sql",
    "from_svmlight",
    "from_zarr",
    "mux",
    "stream_scorer",
    "streamable",
]
