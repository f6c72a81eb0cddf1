"""Blocks of samples of a mux: planned, located and read, in a thread while the last one is learned from."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from ._ahead import Ahead
from ._failures import LAG, Failures, Guard
from ._memory import keep_freed
from ._passes import close
from ._plan import Planner

_BLOCK = 32768
_FEW = 8192
_BLOCK_BYTES = 2**23
_AT_ONCE = 4  # blocks: at hand, waiting, under way, and one for the many small things


def largest_block(reader: Any, lam: float | None) -> int:
    """Return the most samples of a block, so that neither it nor what visits of ``lam`` samples read for it is large in bytes."""
    n = max(min(_BLOCK, _BLOCK_BYTES // max(reader.row_bytes, 1)), 64)
    return n if lam is None or reader.many_visits is None else min(n, max(_FEW, int(reader.many_visits * lam)))


class Blocks:
    """The samples that a mux gives, read block by block.

    Parameters
    ----------
    planner : Planner
    reader : Reader
    failures : Failures

    Attributes
    ----------
    at : int
        Samples of the block at hand that are used up.

    Notes
    -----
    A block that could not be read, of a file that is damaged, say, is found out when it is gathered: its rows are left out,
    and what comes after it of its stream in this pass, of which some may have been planned already. From then on the stream
    is not planned: from ``LAG`` blocks on after that one, which are always planned after that one was gathered, so that
    the samples are the same with and without threads.

    A block is planned and gathered in one thread. Who waits for it plans the one after it meanwhile, if the reader lets him,
    so that two threads share the work where there is nothing else to do, and where there is, a single one disturbs it. No lock is
    needed: only the caller's thread has a block read, and until it does so again the other one plans no more.
    """

    def __init__(self, planner: Planner, reader: Any, failures: Failures) -> None:
        self._planner = planner
        self._reader = reader
        self.failures = failures
        self._stop = threading.Event()
        self._begun = False
        self._n_located = self._n_gathered = 0
        self._reading = Ahead(reader.blocks_alone, reader.most_read_ahead)
        if reader.shares_work:
            keep_freed(_AT_ONCE * planner.largest_block * reader.row_bytes)
        self._n_ahead = min(reader.n_ahead, LAG - 1)
        # blocks that are planned and not read, or why one could not be planned
        self._located: deque[tuple[Any, np.ndarray] | Exception] = deque()
        self._planned_from: deque[tuple[dict[str, Any], Any]] = deque()  # what was before each block not used up
        self._forget()

    def _forget(self) -> None:
        self._chunk: Any = None  # the block that was read last
        self._begun = False
        self._who = np.empty(0, np.int32)
        self.at = 0
        self._planned_from.clear()
        self._located.clear()
        self._ended = False  # whether all is planned

    def take(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return the next ``n`` samples, fewer at the end, and the positions of their streams; None: there are no more."""
        start, stop = self.at, self.at + n
        who = self._who[start:stop]
        if len(who) == n:
            self.at = stop
            return self._reader.slice(self._chunk, start, stop), who
        batches, whos = [], []
        missing = n
        while True:
            start = self.at
            stop = self.at = min(start + missing, len(self._who))
            if stop > start:
                batches.append(self._reader.slice(self._chunk, start, stop))
                whos.append(self._who[start:stop])
                missing -= stop - start
            if not missing or not self._next():
                break
        if len(batches) > 1:
            return self._reader.join(batches), np.concatenate(whos)
        return (batches[0], whos[0]) if batches else None

    def next_sample(self) -> tuple[Any, int] | None:
        """Return the next sample and the position of its stream; None: there are no more."""
        if self.at == len(self._who) and not self._next():
            return None
        at = self.at
        self.at = at + 1
        return self._reader.sample(self._chunk, at), int(self._who[at])

    def _next(self) -> bool:
        """Read the next block, now that the last one is used up; False if there is none."""
        while (block := self._reading.next(self._read, self._plan_meanwhile, self._has_planned)) is not None:
            if self._begun:
                self._planned_from.popleft()
            self._begun = True
            self._chunk, self._who = block
            self.at = 0
            if len(self._who):
                return True
        return False

    def _has_planned(self) -> bool:
        return self._reader.shares_work and bool(self._located)

    def _plan_meanwhile(self) -> None:
        """Plan the block after the one that is awaited, and find its rows if there is still time."""
        if not self._reader.shares_work or self._located or self._ended:
            return
        located: Any
        try:
            located = self._locate()
            if located is not None and (self._planner.holds_interpreter or not self._reading.is_ready()):
                located = self._reader.prepare(located[0]), located[1]
        except Exception as error:  # it is the next block's: this one is to be had
            located = error
        self._keep(located)

    def _keep(self, located: tuple[Any, np.ndarray] | Exception | None) -> None:
        self._ended = located is None
        if located is not None:
            self._located.append(located)

    def _read(self, planned: threading.Event) -> tuple[dict[str, Any] | None, np.ndarray] | None:
        """Read the block that was planned, or is now; from the time when ``planned`` is set on, nothing more is planned."""
        try:
            while not self._ended and (
                not self._located or (len(self._located) < self._n_ahead and self._reader.has_room())
            ):
                self._keep(self._locate())
            located = self._located.popleft() if self._located else None
        finally:
            planned.set()
        if located is None:
            return None
        if isinstance(located, Exception):
            raise located
        where, who = located
        guard = None
        if self.failures.rules.handles:
            guard = Guard(self.failures, self._stop, self._n_gathered)
        batch, kept = self._reader.gather_good(where, guard)
        self._n_gathered += 1
        return batch, who if kept is None else who[kept]

    def _locate(self) -> tuple[Any, np.ndarray] | None:
        """Plan a block, and return where its samples lie and the positions of their streams."""
        before = self._planner.snapshot()
        if self.failures.rules.handles and (failed := self.failures.set_aside_in(self._n_located - LAG)):
            self._planner.drop(failed)
        plan = self._planner.plan()
        if plan is None:
            return None
        located = self._reader.locate(plan)
        self._reader.expect(self._planner.holder, self._planner.left)
        self._planned_from.append((before, self._reader.moved))
        self._n_located += 1
        return located

    def close(self) -> None:
        """Wait for what is under way, and forget what was read ahead."""
        self._stop.set()
        self._reading.close()
        self._located.clear()
        close(self._reader)
        self._stop = threading.Event()

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Return what was before the block at hand, of the planner as a snapshot and of the reader as a state, and its number."""
        self._reading.settle()
        before, moves = self._planner.snapshot(), []
        if self._planned_from:  # blocks that are not used up are planned again from what was before them
            before, moves = self._planned_from[0][0], [moved for _, moved in self._planned_from]
        return before, self._reader.state_dict(moves), self._n_located - len(self._planned_from)

    def load_state_dict(self, reader: dict[str, Any], number: int, at: int) -> None:
        """Go on ``at`` a place in the block of this number, once the planner is where it was."""
        self._forget()
        self._n_located = self._n_gathered = number
        self._reader.load_state_dict(reader)
        if at and not self._next():
            raise ValueError("the streams end before the place where the state was saved: their data has changed.")
        self.at = at
