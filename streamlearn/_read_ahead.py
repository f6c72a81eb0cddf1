"""Blocks of samples of a mux: planned, located and read, in a thread while the last one is learned from."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from ._ahead import Ahead
from ._failures import LAG, Failures, Guard
from ._memory import keep_freed
from ._passes import close
from ._plan import Plan, Planner
from ._reader import Added
from ._rows import sum_of_squares

_BLOCK = 65536
_FEW = 8192
_BLOCK_BYTES = 3 * 2**22
_PLANNED = 3  # the one that a thread is at work on, and the one that it is about to take, may still be there
_AT_ONCE = 4  # blocks: at hand, waiting, under way, and one for the many small things


_Block = tuple[Any, np.ndarray, dict[str, float]]  # samples, their streams, sums of their squares


def _is_of_floats(values: Any) -> bool:
    return type(values) is np.ndarray and values.dtype.kind == "f"


def largest_block(reader: Any, lam: float | None) -> int:
    """Return the most samples of a block, so that neither it nor what visits of ``lam`` samples read for it is large in bytes."""
    n = max(min(_BLOCK, _BLOCK_BYTES // max(reader.row_bytes, 1)), 64)
    return n if lam is None or reader.many_visits is None else min(n, max(_FEW, int(reader.many_visits * lam)))


class _Planned:
    """A block of samples on its way.

    Attributes
    ----------
    before : object
        What was before it, of the planner.
    plan : Plan, Exception or None
        An exception is why it could not be planned; None: it has been located.
    refined : Plan or None
        As the reader locates it; None: it has not been refined, or has been located.
    refined_from : object
        What was before that, of the reader.
    """

    __slots__ = ("before", "plan", "refined", "refined_from")

    def __init__(self, before: Any, plan: Plan | Exception) -> None:
        self.before = before
        self.plan: Plan | Exception | None = plan
        self.refined: Plan | None = None
        self.refined_from: Any = None


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
    squares : dict of str to float
        Sums of the squares of the block that the last batch is a part of, if it is of one alone and they are added up.

    Notes
    -----
    A block that could not be read, of a file that is damaged, say, is found out when it is gathered: its rows are left out,
    and what comes after it of its stream in this pass, of which some may have been planned already. From then on the stream
    is not planned: from ``LAG`` blocks on after that one, which are always planned after that one was gathered, so that
    the samples are the same with and without threads.

    Where the reader says so, only whoever asks for blocks plans them, one ahead, and a thread finds and gathers their rows: that
    is done in a few long steps, which leave the interpreter to the learner, while a plan is made in many short ones. No lock is
    needed: while the thread is at work, nobody else reads, and only the caller plans. Plans are refined by both, each by who
    comes to it first: the caller does it where he would wait for the thread.
    """

    def __init__(self, planner: Planner, reader: Any, failures: Failures) -> None:
        self._planner = planner
        self._reader = reader
        reader.n_active = planner.policy.n_slots
        self.failures = failures
        self._stop = threading.Event()
        self._begun = False
        self._n_planned = self._n_gathered = 0
        self._reading = Ahead(reader.blocks_alone, reader.least_read_ahead, reader.most_read_ahead)
        keep_freed(_AT_ONCE * planner.largest_block * reader.row_bytes)
        self._n_ahead = min(reader.n_ahead, LAG - 1)
        self._plans: deque[_Planned] = deque()  # that are not located
        self._located: deque[tuple[Any, np.ndarray] | Exception] = deque()  # blocks that are not read
        self._unused: deque[_Planned] = deque()  # all that are not used up
        self._moves: deque[Any] = deque()  # how the streams stood before each of those that are located
        self._behind: deque[tuple[_Planned, Any, _Block]] = deque()  # used up by a batch that is not complete
        self._again: deque[_Block] = deque()  # blocks that were read, and are still to come
        self._forget()

    def _forget(self) -> None:
        self.at: int = 0
        self._use((None, np.empty(0, np.int32), {}))
        self._begun = False
        self.squares: dict[str, float] = {}
        self._refining = threading.Lock()  # a new one: that of before may have been held when the process was forked
        for waiting in (self._plans, self._located, self._unused, self._moves, self._behind, self._again):
            waiting.clear()
        self._ended = False  # whether all is planned
        self._n_given = 0  # samples of blocks that are used up,
        self._n_read = self._n_laid_out = 0  # that were read, that were planned,
        self._n_wanted = math.inf  # and that will be asked for

    def add_squares(self) -> None:
        """Add up the squares of floats, to tell whether all of them are finite; where blocks are read, nobody waits."""
        self._reader.add_squares()

    def expect(self, n: float) -> None:
        """Note how many samples more will be asked for, so that none beyond are planned or read ahead."""
        self._n_wanted = self._n_given + self.at + n

    def take(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return the next ``n`` samples, fewer at the end, and the positions of their streams; None: there are no more."""
        start, stop = self.at, self.at + n
        who = self._who[start:stop]
        if len(who) == n:
            self.at = stop
            self.squares = self._squares
            return self._reader.slice(self._chunk, start, stop), who
        self.squares = {}
        first = self.at
        try:
            taken = self._take_on(n)
        except BaseException:  # an error of a block, or an interrupt: what comes before it is still to come
            self._go_back(first)
            raise
        self._behind.clear()
        return taken

    def _take_on(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        batches, whos = [], []
        missing, has_read = n, False
        while True:
            start = self.at
            stop = self.at = min(start + missing, len(self._who))
            if stop > start:
                batches.append(self._reader.slice(self._chunk, start, stop))
                whos.append(self._who[start:stop])
                missing -= stop - start
            if not missing or not self._next(at_once=has_read):
                break
            has_read = True
        if len(batches) > 1:
            return self._reader.join(batches), np.concatenate(whos)
        self.squares = self._squares
        return (batches[0], whos[0]) if batches else None

    def _go_back(self, first: int) -> None:
        """Go back to the first block of a batch, of which samples from ``first`` on were taken."""
        while self._behind:
            planned, moved, block = self._behind.pop()
            self._again.appendleft((self._chunk, self._who, self._squares))
            self._unused.appendleft(planned)
            self._moves.appendleft(moved)
            self._use(block)
            self._n_given -= len(self._who)
        self.at = first

    def next_sample(self) -> tuple[Any, int] | None:
        """Return the next sample and the position of its stream; None: there are no more."""
        if self.at == len(self._who):
            if not self._next():
                return None
            self._behind.clear()
        at = self.at
        self.at = at + 1
        return self._reader.sample(self._chunk, at), int(self._who[at])

    def _next(self, at_once: bool = False) -> bool:
        """Read the next block, now that the last one is used up; False if there is none.

        Parameters
        ----------
        at_once : bool, default=False
            Whether the last one was read for the same batch.
        """
        meanwhile = goes_on = None
        wanted = self._wants_more
        if self._reader.caller_plans:
            meanwhile, goes_on, wanted = self._plan_ahead, self._has_plan, self._has_plan
        while True:
            if self._again:
                block = self._again.popleft()
            else:
                block = self._reading.next(self._read, meanwhile, goes_on, at_once, wanted, self._refine_ahead)
            if block is None:
                return False
            if self._begun:
                used = self._chunk, self._who, self._squares
                self._behind.append((self._unused.popleft(), self._moves.popleft(), used))
            self._begun = True
            self._n_given += len(self._who)
            self._use(block)
            if len(self._who):
                return True

    def _use(self, block: _Block) -> None:
        self._chunk, self._who, self._squares = block
        self.at = 0

    def _plan_ahead(self) -> None:
        """Plan a block, if there are not enough; the thread that reads them never does."""
        if len(self._plans) < _PLANNED and not self._ended and self._lays_out_more():
            self._plan()

    def _refine_ahead(self, is_over: Callable[[], bool]) -> None:
        for planned in list(self._plans):
            if is_over() or isinstance(planned.plan, Exception):
                return
            try:
                self._refined(planned)
            except Exception:  # it is this block's, and comes again when it is due: none is refined before
                return

    def _has_plan(self) -> bool:
        return bool(self._plans)

    def _lays_out_more(self) -> bool:
        return self._n_laid_out < self._n_wanted

    def _wants_more(self) -> bool:
        return self._n_read < self._n_wanted

    def _read(self) -> _Block | None:
        if self._reader.caller_plans:
            if not self._plans and not self._ended:  # no thread is at work: this is the caller
                self._plan()
            self._locate()
        else:
            while not self._ended and (
                not self._located
                or (len(self._located) < self._n_ahead and self._lays_out_more() and self._reader.has_room())
            ):
                self._plan()
                self._locate()
        if not self._located:
            return None
        located = self._located.popleft()
        if isinstance(located, Exception):
            raise located
        where, who = located
        self._n_read += len(who)
        self._reader.is_waited_for = self._reading.is_waited_for
        guard = None
        if self.failures.rules.handles:
            guard = Guard(self.failures, self._stop, self._n_gathered)
        try:
            batch, kept = self._reader.gather_good(where, guard)
        except Exception:
            raise
        except BaseException:  # an interrupt
            if self._reader.gathers_again:
                self._located.appendleft(located)
                self._n_read -= len(who)
            raise
        self._n_gathered += 1
        squares = {}
        if self._reader.adds_squares and batch is not None:
            added = batch.squares if type(batch) is Added else {}
            floats = {name: values for name, values in batch.items() if _is_of_floats(values)}
            squares = {name: added.get(name) or sum_of_squares(values) for name, values in floats.items()}
        return batch, who if kept is None else who[kept], squares

    def _plan(self) -> None:
        plan: Plan | Exception | None
        before = self._planner.snapshot()
        try:
            if self.failures.rules.handles and (failed := self.failures.set_aside_in(self._n_planned - LAG)):
                self._planner.drop(failed)
            plan = self._planner.plan()
        except Exception as error:  # it is this block's: those before it are to be had
            plan = error
        except BaseException:  # an interrupt: half of a plan must not be lost
            self._planner.load_state_dict(self._planner.pack(before))
            raise
        if plan is None:
            self._ended = True
            return
        planned = _Planned(before, plan)
        if not isinstance(plan, Exception):
            self._unused.append(planned)
            self._n_planned += 1
            self._n_laid_out += len(plan.order)
        self._plans.append(planned)

    def _refined(self, planned: _Planned) -> Plan | None:
        """Return the plan of a block as the reader locates it; None: it has been located."""
        with self._refining:
            if planned.refined is None and planned.plan is not None:
                before = self._reader.before_refining()
                try:
                    planned.refined_from, planned.refined = before, self._reader.refine(planned.plan)
                except BaseException:  # an interrupt, perhaps right after it was done: half of it must not be lost
                    planned.refined = None
                    self._reader.undo_refining(before)
                    raise
            return planned.refined

    def _locate(self) -> None:
        """Find out where the rows of the next planned block lie."""
        if not self._plans:
            return
        planned, moved = self._plans[0], self._reader.moved
        n_moves, n_located = len(self._moves), len(self._located)
        if isinstance(planned.plan, Exception):
            self._located.append(planned.plan)
            self._plans.popleft()
            return
        try:
            located = self._reader.locate(self._refined(planned))
            if not self._reader.caller_plans:
                self._reader.expect(self._planner.holder, self._planner.left)
            self._moves.append(self._reader.moved)
            self._located.append(located)
            self._plans.popleft()
        except BaseException:  # an interrupt: what was found must not be lost
            if self._reader.moved is not moved:
                self._reader.move_back(self._reader.moved)
                self._reader.moved = moved
            for waiting, n in (self._moves, n_moves), (self._located, n_located):
                while len(waiting) > n:
                    waiting.pop()
            if not self._plans or self._plans[0] is not planned:
                self._plans.appendleft(planned)
            raise
        with self._refining:  # they are as large as the block's samples
            planned.plan = planned.refined = None

    def close(self) -> None:
        """Wait for what is under way, and forget what was read ahead."""
        self._stop.set()
        self._reading.close()
        self._plans.clear()
        self._located.clear()
        close(self._reader)
        self._stop = threading.Event()

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Return what was before the block at hand, of the planner as a snapshot and of the reader as a state, and its number."""
        self._reading.settle()
        # blocks that are not used up are planned again from what was before them
        first = self._unused[0] if self._unused else _Planned(self._planner.snapshot(), RuntimeError())
        reader = self._reader.state_dict(list(self._moves), first.refined_from)
        return first.before, reader, max(self._n_planned - len(self._unused), 0)

    def load_state_dict(self, reader: dict[str, Any], number: int, at: int) -> None:
        """Go on ``at`` a place in the block of this number, once the planner is where it was."""
        self._forget()
        self._n_planned = self._n_gathered = number
        self._reader.load_state_dict(reader)
        has_ended = bool(at) and not self._next()
        if has_ended or (at > len(self._who) and not self.failures.rules.handles):
            raise ValueError("the streams end before the place where the state was saved: their data has changed.")
        self.at = min(at, len(self._who))  # rows of what has failed since then are missing
