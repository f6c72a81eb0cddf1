"""Batches of a running stream: its items, checked, joined and cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ._batch import Batch, as_batch
from ._joiner import Joiner
from ._rows import is_frame
from ._schema import Schema, refuse_other_columns
from ._state import pack, unpack

_MAX_EMPTY_ITEMS = 100_000
_LIST_ITERATOR: type = type(iter([]))


class Batches:
    """Batches of ``size`` rows from a running stream, and where their rows come from. It is iterated once.

    Parameters
    ----------
    iterator : iterator
        Of a mux or another stream. One that ``takes`` is asked for blocks of samples; others for items, joined and cut.
    size : int or None
        Rows; None: each item as it comes.
    first : int
        Least number of rows of the first batch.
    names : sequence of str
        Of the streams, for errors.
    schema : Schema, optional
        Checks each item; None (default): nothing does.

    Attributes
    ----------
    n_items : int
        Items that were read.
    joiner : Joiner
        Holds the rows that wait for more.
    ready : list
        Batches that are joined and were not given yet, the last one first.
    """

    def __init__(
        self, iterator: Any, size: int | None, first: int = 1, names: Sequence[str] = (), schema: Schema | None = None
    ) -> None:
        self.iterator = iterator
        self.n_items = 0
        self.joiner = Joiner(size, first)
        self.ready: list[tuple[Batch, Any]] = []
        self._size = size
        self._first = first
        self._names = names
        self._columns: Any = None if schema is None else schema.feature_names
        self._schema = schema
        self._reused = not isinstance(iterator, _LIST_ITERATOR)
        if schema is not None and not schema.reads_again and getattr(iterator, "takes", False):
            iterator.add_squares()
        self._n_empty = 0
        self._last_empty = -2

    def state_dict(self) -> dict[str, Any]:
        """Return the rows that wait, as a JSON-able dict; the iterator is not in it."""
        ready = [[pack([batch.X, batch.y, batch.sample_weight]), batch.n, pack(counts)] for batch, counts in self.ready]
        parts = {
            "joiner": self.joiner.state_dict(),
            "schema": None if self._schema is None else self._schema.state_dict(),
        }
        return {"n_items": self.n_items, "ready": ready, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.n_items = state["n_items"]
        self.joiner.load_state_dict(state["joiner"])
        if self._schema is not None and state["schema"] is not None:
            self._schema.load_state_dict(state["schema"])
        for parts, n, counts in state["ready"]:
            X, y, weight = unpack(parts)
            self.ready.append((Batch(X, y, weight, n), [tuple(pair) for pair in unpack(counts)]))

    def __iter__(self) -> Iterator[tuple[Batch, Any]]:
        return self._taken() if getattr(self.iterator, "takes", False) else self._joined()

    def _taken(self) -> Iterator[tuple[Batch, Any]]:
        iterator, schema = self.iterator, self._schema
        take = iterator.take
        n, size = max(self._size or 1, self._first), self._size or 1
        usual: Any = None  # of a block of rows that need no further check
        while (taken := take(n)) is not None:
            parts, who = taken
            batch = Batch(parts["X"], parts.get("y"), parts.get("sample_weight"), len(who))
            if schema is not None and batch.n:
                squares = iterator.squares
                if squares is not usual or not squares:
                    self._check_taken(schema, batch, who)
                    usual = squares if schema.is_usual(batch, squares) else None
            yield batch, who
            n = size

    def _joined(self) -> Iterator[tuple[Batch, Any]]:
        iterator, ready = self.iterator, self.ready
        told = hasattr(iterator, "position")
        joiner, keep_plain = self.joiner, self.joiner.keep_plain
        yield from self._given()
        for item in iterator:
            position = iterator.position if told else 0
            if keep_plain(item, position):
                self.n_items += 1
                if joiner.is_full:
                    ready.extend(reversed(joiner.flush()))
                    yield from self._given()
                continue
            try:
                batch = self._read(item, position)
            except Exception as error:
                # a stream of what cannot be learned from is one that fails
                if not told or not iterator.refuse_last(error):
                    raise
                continue
            self.n_items += 1
            if done := self.joiner.feed(batch, position):
                ready.extend(reversed(done))
                yield from self._given()
        ready.extend(reversed(self.joiner.flush()))
        yield from self._given()

    def _given(self) -> Iterator[tuple[Batch, Any]]:
        """Give what is ready, to keep: rows of one item may lie in its own arrays, which a generator may use again."""
        ready = self.ready
        while ready:
            batch, counts = ready.pop()
            yield batch.copy() if self._reused and len(counts) == 1 else batch, counts

    def _read(self, item: Any, position: int) -> Batch:
        try:
            batch = as_batch(item)
            if type(batch.X) is not np.ndarray and is_frame(batch.X):
                # joined with others, columns that differ would become missing values
                self._columns = batch.X.columns if self._columns is None else self._columns
                refuse_other_columns(batch.X.columns, self._columns)
            if not batch.n:
                self._count_empty()
            elif self._schema is not None:
                # iter_fit takes a mux as one stream
                counts = [(0 if len(self._names) == 1 else position, batch.n)]
                if not self._schema.learned:  # an item that is refused must not tell what others have to be like
                    self._schema.check_labels(batch.y, counts)
                self._schema.check(batch, self._where)
                if self.joiner.cuts(batch):  # else its labels are looked at with others, which costs less
                    self._schema.check_labels(batch.y, counts)
                self.joiner.X_limit, self.joiner.y_limit = self._schema.X_limit, self._schema.y_limit
        except (TypeError, ValueError) as error:
            error.add_note(f"given by {self._where()}")
            raise
        return batch

    def _where(self) -> str:
        """Say which stream gave the last item."""
        if hasattr(self.iterator, "where"):
            return self.iterator.where()
        name = f" {self._names[0]!r}" if len(self._names) else ""
        return f"stream{name}, item {self.n_items}"

    def _count_empty(self) -> None:
        """Refuse streams that give no row any more, and would do so for ever."""
        gave_rows = self._last_empty != self.n_items - 1
        self._last_empty = self.n_items
        self._n_empty = 1 if gave_rows else self._n_empty + 1
        if self._n_empty > _MAX_EMPTY_ITEMS:
            raise ValueError(
                f"{self._n_empty} items in a row have no sample: streams that give nothing would be read for ever. Let them end, "
                "or give such items no longer."
            )

    def _check_taken(self, schema: Schema, batch: Batch, who: np.ndarray) -> None:
        """Check samples that were taken together; of those that are refused, say where the first one lies."""
        iterator = self.iterator
        try:
            schema.check(batch, lambda: iterator.name_of(int(who[0])), iterator.squares)
            return
        except ValueError as error:
            refused = error
        bad = next((i for i in range(batch.n) if schema.suspicious(batch.rows(i, i + 1))), 0)
        position = int(who[bad])
        found = iterator.stream_at(position)._find(lambda columns: schema.suspicious(as_batch(columns)))
        if found is not None:
            try:
                schema.check_values(as_batch(found[1]), found[0])
            except ValueError as error:
                refused = error
        refused.add_note(f"given by {iterator.name_of(position)}")
        raise refused
