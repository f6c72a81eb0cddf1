"""Where many streams stand: a cursor for each, moved by the runs of samples that a mux plans."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._permute import LARGEST, counted_from
from ._random import mix_array
from ._reader import Plan, Reader
from ._state import check_state, check_whole, pack, unpack

Moved = tuple[np.ndarray, np.ndarray, np.ndarray]


class Runs:
    """Samples that follow each other in their streams.

    Parameters
    ----------
    streams, places, lengths : ndarrays of shape (n_runs,)
        The stream, the place of the first sample, counted from the beginning of the pass under way, and the number of samples.
    present : ndarray of shape (n_present,)
        The streams, sorted.
    begins, ends : ndarrays of shape (n_present,)
        The places of each that are taken, all of them from the first to before the last; those of the size of the stream and
        above are of later passes.
    """

    __slots__ = ("begins", "ends", "lengths", "places", "present", "streams")

    def __init__(
        self,
        streams: np.ndarray,
        places: np.ndarray,
        lengths: np.ndarray,
        present: np.ndarray,
        begins: np.ndarray,
        ends: np.ndarray,
    ) -> None:
        self.streams = streams
        self.places = places
        self.lengths = lengths
        self.present = present
        self.begins = begins
        self.ends = ends

    def cut(self, sizes: np.ndarray) -> tuple[Runs, np.ndarray]:
        """Cut runs where a pass ends, and return them with places within passes, and the number of the pass of each.

        Parameters
        ----------
        sizes : ndarray
            Of all streams.
        """
        of_runs = sizes[self.streams]
        first, last = self.places // of_runs, (self.places + self.lengths - 1) // of_runs
        n_pieces = last - first + 1
        run, number = np.repeat(np.arange(len(first)), n_pieces), counted_from(first, n_pieces)
        begins = number * of_runs[run]
        starts = np.maximum(self.places[run], begins)
        lengths = np.minimum((self.places + self.lengths)[run], begins + of_runs[run]) - starts
        return Runs(self.streams[run], starts - begins, lengths, self.present, self.begins, self.ends), number


def keys_of(seed: int, n_streams: int) -> np.ndarray:
    """Return what names the orders of each stream, as uint32."""
    return mix_array(seed, np.arange(n_streams))


class CursorReader(Reader):
    """Reads blocks of samples from many streams, each with one cursor over an order shuffled for each of its passes.

    No order is kept: the row at a place of a pass is computed (:func:`permute`), so that an idle stream costs its cursor. A
    subclass knows where the samples lie.

    Parameters
    ----------
    sizes : ndarray of shape (n_streams,)
        Samples of each stream.
    shuffled : ndarray of shape (n_streams,)
        Whether each pass of a stream has an order of its own.
    seed : int

    Attributes
    ----------
    moved : Moved
        Streams, and their places and passes before the last call of :meth:`locate`.
    """

    moved: Moved
    _VERSION = 2

    def __init__(self, sizes: np.ndarray, shuffled: np.ndarray, seed: int) -> None:
        if sizes.max(initial=0) > LARGEST:
            raise ValueError(f"a stream may hold at most {LARGEST} samples, got {sizes.max()}.")
        self._sizes = sizes
        self._shuffled = shuffled
        self._rewind(seed)

    def _rewind(self, seed: int) -> None:
        n = len(self._sizes)
        self._seed = seed
        self._keys = keys_of(seed, n)
        self._places = np.zeros(n, np.int64)  # in the pass under way
        self._passes = np.zeros(n, np.int64)

    def state_dict(self, moves: Sequence[Moved] = (), refined_from: Any = None) -> dict[str, Any]:
        """Return where the cursors stood before these moves, which were the last; idle streams take no room.

        Parameters
        ----------
        moves : sequence of Moved
            In the order in which they were made.
        refined_from : None
            There is nothing to refine.
        """
        places, passes = self._places, self._passes
        if moves:
            places, passes = places.copy(), passes.copy()
        for present, old_places, old_passes in reversed(moves):
            places[present], passes[present] = old_places, old_passes
        begun = np.flatnonzero(places | passes)
        return {
            "kind": "reader",
            "version": self._VERSION,
            "seed": self._seed,
            "sizes": zlib.crc32(self._sizes.astype(np.int64).tobytes()),
            "begun": pack(begun),
            "places": pack(places[begun].astype(np.int64)),
            "passes": pack(passes[begun]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the cursors where a state says.

        Raises
        ------
        ValueError
            If the streams had other lengths.
        """
        check_state(state, "reader", self._VERSION, ("seed", "sizes", "begun", "places", "passes"))
        if state["sizes"] != zlib.crc32(self._sizes.astype(np.int64).tobytes()):
            raise ValueError("state was saved of streams of other lengths: the data has changed since. Begin anew.")
        begun, places, passes = (unpack(state[name]) for name in ("begun", "places", "passes"))
        check_whole("streams with cursors", begun, 0, len(self._sizes))
        check_whole("passes of cursors", passes, 0, 2**63, len(begun))
        check_whole("places of cursors", places, 0, 2**63, len(begun))
        outside = np.flatnonzero(places >= self._sizes[begun])
        if outside.size:
            i = outside[0]
            raise ValueError(
                f"state is damaged: a cursor stands outside of its stream, at {places[i]} of {self._sizes[begun[i]]} samples of "
                f"stream {begun[i]}. Begin anew, or from another state."
            )
        self._rewind(state["seed"])
        self._places[begun], self._passes[begun] = places, passes

    def locate(self, plan: Plan) -> tuple[Any, np.ndarray]:
        """Move the cursors by a plan, and return where its samples lie, and their streams."""
        order, streams, lengths = plan[:3]
        if not lengths.all():  # a visit may begin at the very end of a block
            streams, lengths = streams[lengths > 0], lengths[lengths > 0]
        by_stream = np.argsort(streams, kind="stable")
        lengths_by = lengths[by_stream]
        ends = np.cumsum(lengths_by)
        sorted_streams = streams[by_stream]
        begins = np.empty(len(streams) + 1, bool)
        begins[0] = begins[-1] = True
        np.not_equal(sorted_streams[1:], sorted_streams[:-1], out=begins[1:-1])
        edges = begins.nonzero()[0]
        first, n_runs = edges[:-1], edges[1:] - edges[:-1]
        present = sorted_streams[first]
        counts = ends[edges[1:] - 1]
        counts[1:] -= counts[:-1].copy()
        sizes, places = self._sizes[present], self._places[present]
        # runs of one stream follow each other in its order, as they stand
        run_places = np.empty(len(streams), np.int64)
        run_places[by_stream] = ends - lengths_by + np.repeat(places - (np.cumsum(counts) - counts), n_runs)
        who = np.repeat(streams.astype(np.int32), lengths)
        totals = places + counts
        wrapped = totals > sizes
        runs = Runs(streams, run_places, lengths, present, places, totals)
        # what has no order of its own is given in time, and so is a pass before the next begins
        torn = (wrapped | ~self._shuffled[present]) & (n_runs > 1)
        if torn.any():
            torn_runs = np.empty(len(streams), bool)
            torn_runs[by_stream] = np.repeat(torn, n_runs)
            runs = _put_in_time(runs, order, torn_runs)
        where = self._find(runs, order)
        who_in_time = np.empty_like(who)
        who_in_time[order] = who
        # at the very end: an interrupt before it leaves all as it was
        self.moved = (present, places, self._passes[present])
        self._passes[present] += totals // sizes
        self._places[present] = totals % sizes
        return where, who_in_time

    def move_back(self, moved: Moved) -> None:
        present, places, passes = moved
        self._places[present], self._passes[present] = places, passes

    def _find(self, runs: Runs, order: np.ndarray) -> Any:
        """Return what :meth:`gather` takes.

        Parameters
        ----------
        runs : Runs
        order : ndarray of shape (n_samples,)
            Place of each sample in time.
        """
        raise NotImplementedError


def by_table(
    tables: np.ndarray, n_tables: int, rows: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Sort samples by the table in which they lie.

    Returns
    -------
    rows : ndarray of shape (n_samples,)
        Table by table.
    back : ndarray of shape (n_samples,)
        Where the sample that is due at each time stands among them.
    cuts : list of int, of length n_tables + 1
        Where each table begins among them.
    """
    by = np.argsort(tables, kind="stable")
    back = np.empty_like(order)
    back[order[by]] = np.arange(len(order))
    return rows[by], back, np.searchsorted(tables[by], np.arange(n_tables + 1)).tolist()


def pass_key(number: np.ndarray) -> np.ndarray:
    return number.astype(np.uint32) * np.uint32(0x9E3779B1)


def _put_in_time(runs: Runs, order: np.ndarray, torn_runs: np.ndarray) -> Runs:
    """Give the places of some runs out in time instead of run after run: each of their samples becomes a run.

    It makes a difference only where a stream passes into its next pass within a block and has several runs there: nothing
    may come twice before all has come once.
    """
    before, lengths = (np.cumsum(runs.lengths) - runs.lengths)[torn_runs], runs.lengths[torn_runs]
    stream = np.repeat(runs.streams[torn_runs], lengths)
    place = counted_from(runs.places[torn_runs], lengths)
    by_run = np.lexsort((place, stream))
    by_time = np.lexsort((order[counted_from(before, lengths)], stream))
    place[by_time] = place[by_run]
    n_pieces = np.where(torn_runs, runs.lengths, 1)
    of_torn = np.repeat(torn_runs, n_pieces)
    places, lengths = np.repeat(runs.places, n_pieces), np.repeat(runs.lengths, n_pieces)
    places[of_torn], lengths[of_torn] = place, 1
    return Runs(np.repeat(runs.streams, n_pieces), places, lengths, runs.present, runs.begins, runs.ends)
