"""What reads blocks of samples from many streams at once, as a mux plans them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ._rows import concat_rows, is_frame, slice_rows


class Plan(NamedTuple):
    """The next draws of a mux.

    Attributes
    ----------
    order : ndarray of shape (n_samples,)
        Place in time of each sample, run after run.
    streams, lengths : ndarrays of shape (n_runs,)
        Runs of samples that one stream gives: parts of visits. Where some are fresh, the runs of a seat are in the order of time.
    seats : ndarray of shape (n_runs,), optional
        Where the mux keeps what gives a run: the slot, or the stream where streams are paused between visits. Only streams that
        are muxes themselves need to know, as of ``fresh``.
    fresh : ndarray of shape (n_runs,), optional
        Whether a stream is started anew with the run; False: it goes on where it stands in its seat.
    who : ndarray of shape (n_samples,), int32, optional
        The stream of the mux that each sample counts for, in time, where a plan was refined to the streams within.
    """

    order: np.ndarray
    streams: np.ndarray
    lengths: np.ndarray
    seats: np.ndarray | None = None
    fresh: np.ndarray | None = None
    who: np.ndarray | None = None


def in_turn(streams: np.ndarray) -> Plan:
    """Return a plan of one sample of each of the streams, in this order."""
    return Plan(np.arange(len(streams)), streams, np.ones(len(streams), np.int64))


class Added(dict):
    """A batch, with the sums of the squares of those of its parts for which they were added up."""

    squares: Mapping[str, float] = MappingProxyType({})


class Reader:
    """Reads blocks of samples from many streams.

    Attributes
    ----------
    moved : object
        What :meth:`state_dict` needs to know of how things stood before the last call of :meth:`locate`.
    row_bytes : int
        About how many bytes a sample has.
    blocks_alone : int
        Number of blocks of samples that a mux asks for before it works ahead in a thread.
    least_read_ahead, most_read_ahead : float
        The part of all the time that blocks of samples must take to be read ahead in a thread.
    caller_plans : bool
        Whether that thread leaves it to the caller to plan blocks.
    n_ahead : int
        Number of blocks of samples that a mux should locate before it has the first of them gathered, while there is room.
    can_restart : bool
        Whether :meth:`restarted` makes another reader of the same streams.
    names_failures : bool
        Whether a stream that fails is told by its position in the mux, which may then go on without it.
    many_visits : int or None
        Number of visits of which larger blocks of samples should not be; None: it does not matter.
    n_active : int
        Number of streams that give samples in turn, as far as it is known.
    is_waited_for : bool
        Whether nearly nothing is done but to wait for blocks, while a core is idle, which :meth:`gather` may use as well.
    gathers_again : bool
        Whether what was located can be gathered once more after an interrupt.
    adds_squares : bool
        Whether squares of floats are added up where that costs little, as they are copied (see :class:`Added`).
    """

    row_bytes = 1
    blocks_alone = 4
    least_read_ahead = 0.05
    most_read_ahead = 1.0
    caller_plans = True
    n_ahead = 1
    can_restart = False
    names_failures = True
    many_visits: int | None = None
    n_active = 1
    is_waited_for = False
    gathers_again = False
    adds_squares = False
    moved: Any = None

    def refine(self, plan: Plan) -> Plan:
        """Return the plan that :meth:`locate` takes: of streams within muxes, if the streams are such.

        Plans are refined in their order, one at a time, in any thread, also while those before them are located or gathered.
        """
        return plan

    def before_refining(self) -> Any:
        """Return what :meth:`refine` changes, as it is."""
        return None

    def undo_refining(self, before: Any) -> None:
        """Go back to what :meth:`before_refining` gave."""

    def locate(self, plan: Plan) -> tuple[Any, np.ndarray]:
        """Move all streams on as planned, and return where the samples lie.

        Returns
        -------
        where : object
            What :meth:`gather` takes.
        who : ndarray of shape (n_samples,), int32
            Their streams, in time.
        """
        raise NotImplementedError

    def move_back(self, moved: Any) -> None:
        """Undo the last call of :meth:`locate`, of which ``moved`` tells how things stood before."""
        raise NotImplementedError

    def add_squares(self) -> None:
        """Add up the squares of floats from now on."""
        self.adds_squares = True

    def restarted(self, seed: int) -> Reader:
        """Return a reader of the same streams at their beginning, without looking at each of them again."""
        raise NotImplementedError

    def state_dict(self, moves: Sequence[Any] = (), refined_from: Any = None) -> dict[str, Any]:
        """Return how the streams stood before these moves, which were the last, in the order in which they were made.

        Parameters
        ----------
        moves : sequence
        refined_from : object, optional
            What :meth:`before_refining` gave before the first plan that was refined and is not used up, if there is one.
        """
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring the streams where a state says."""
        raise NotImplementedError

    def read(self, streams: np.ndarray) -> dict[str, Any]:
        """Return a batch with the next sample of each of the streams, in this order."""
        return self.gather(self.locate(in_turn(streams))[0])

    def expect(self, streams: Sequence[int], left: Sequence[int]) -> None:
        """Note of which streams (-1: of none), after what was located last, so many samples more are wanted."""

    def has_room(self) -> bool:
        """Whether what was located and not gathered leaves room for more of it."""
        return True

    def gather(self, where: Any) -> dict[str, Any]:
        """Return the batch of the samples that were located, in time."""
        raise NotImplementedError

    def gather_good(self, where: Any, guard: Any) -> tuple[dict[str, Any] | None, np.ndarray | None]:
        """Return the batch of the samples that can be read, None if none can, and which those are; None: all."""
        return self.gather(where), None

    def slice(self, batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
        return {
            name: values[start:stop] if isinstance(values, np.ndarray) else slice_rows(values, start, stop)
            for name, values in batch.items()
        }

    def join(self, batches: list[dict[str, Any]]) -> dict[str, Any]:
        return {name: concat_rows([batch[name] for batch in batches]) for name in batches[0]}

    def sample(self, batch: dict[str, Any], row: int) -> dict[str, Any]:
        """Return one row as a sample: arrays lose their first axis, other kinds keep it."""
        if {*map(type, batch.values())} == {np.ndarray} and batch["X"].ndim > 1:  # as nearly always
            return {name: values[row] for name, values in batch.items()}
        batch = self.slice(batch, row, row + 1)
        X = batch["X"]
        if sparse.issparse(X) or is_frame(X) or not isinstance(X, np.ndarray) or X.ndim < 2:
            return batch
        return {name: values[0] if isinstance(values, np.ndarray) else values for name, values in batch.items()}
