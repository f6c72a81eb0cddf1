"""Columns of tables as samples, targets and weights."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _compiled
from ._files import as_list, refuse_missing
from ._optional import require
from ._permute import inverse
from ._rows import empty_rows, take_into_rows

# the kinds of values of Arrow that arrays have as they lie
_PLAIN = {
    ord(letter): np.dtype(kind) for letter, kind in zip("gflLiI", ("f8", "f4", "i8", "u8", "i4", "u4"), strict=True)
}


class Chosen:
    """Which columns of a table are samples, targets and weights.

    Parameters
    ----------
    there : sequence of str
        Columns of the table.
    target : str, list of str or None
    features : list of str or None
        None: all columns but ``target``, ``sample_weight`` and those in ``without``.
    sample_weight : str or None
    where : str
        For errors: whose columns they are.
    without : tuple of str
    """

    is_frame = has_lists = False  # whether X is a DataFrame, or has columns that are elements of lists

    def __init__(
        self, there: Sequence[str], target: Any, features: Any, sample_weight: Any, where: str, without: tuple = ()
    ) -> None:
        if sample_weight is not None and not isinstance(sample_weight, str):
            raise TypeError(f"sample_weight must be a column name or None, got {sample_weight!r}.")
        self.targets = [] if target is None else as_list(target, "target")
        self.target_is_list = target is not None and not isinstance(target, str)
        self.weight: str | None = sample_weight
        others = [*self.targets, *([] if sample_weight is None else [sample_weight])]
        unused = {*others, *without}
        self.features = [n for n in there if n not in unused] if features is None else as_list(features, "features")
        self.names = list(dict.fromkeys([*self.features, *others]))
        refuse_missing(self.names, there, where)
        counts = Counter(there)
        for name in self.names:
            if counts[name] > 1:
                raise ValueError(f"{where} has {counts[name]} columns {name!r}: give each a name of its own.")
        if not self.features:
            raise ValueError(f"{where} has no features: all its columns are target, weight or group.")
        if both := sorted(set(self.features) & set(others)):
            raise ValueError(f"{both} are among features and are target or sample_weight, too.")
        self.parts = ("X", *(["y"] if self.targets else []), *(["sample_weight"] if sample_weight else []))

    @functools.cached_property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the columns of ``X``, where it is an array with a column for each of them."""
        return None if self.is_frame or self.has_lists else tuple(self.features)

    def names_of(self, part: str | None) -> list[str]:
        """Columns of a part, or of all."""
        if part == "X":
            return self.features
        if part == "y":
            return self.targets
        return self.names if part is None else [str(self.weight)]


class Columns(Chosen):
    """How columns of Arrow tables become arrays.

    Numbers become one float array (float32 if all are), with nulls as NaN; lists of numbers become that many columns of it.
    As soon as one feature is text or a category, ``X`` is a pandas DataFrame.

    Parameters
    ----------
    schema : pyarrow.Schema
    target, features, sample_weight, where, without
        As for :class:`Chosen`; the index that pandas wrote is no feature.
    leave_out : str
        For errors: how rows are left out.
    """

    def __init__(
        self,
        schema: Any,
        target: Any,
        features: Any,
        sample_weight: Any,
        where: str,
        without: tuple = (),
        leave_out: str = "leave such rows out with filters=",
    ) -> None:
        super().__init__(schema.names, target, features, sample_weight, where, (*without, *_index(schema)))
        self._leave_out = leave_out
        self.types = {name: schema.field(name).type for name in self.names}
        kinds = {name: _kind(self.types[name], name, where) for name in self.names}
        self.is_frame = any(kinds[name] == "text" for name in self.features)
        if self.is_frame and any(kinds[name] == "list" for name in self.features):
            raise ValueError(
                f"{where} has lists and texts among its features: name features= without one or the other."
            )
        for name in [*self.targets, *([sample_weight] if sample_weight else [])]:
            if kinds[name] == "list" or (name == sample_weight and kinds[name] != "number"):
                raise ValueError(
                    f"{where}: column {name!r} is {self.types[name]}, which cannot be a target or a weight."
                )
        self._names_are_plain = not any("\0" in name for name in self.names)  # which ends a name in C
        self.has_lists = any(kinds[name] == "list" for name in self.features)
        self.dtype = _common_dtype([self.types[name] for name in self.features])
        self.is_matrix = not self.has_lists and _is_matrix([self.types[name] for name in self.features])
        self.row_bytes = sum(map(_width, self.types.values()))

    def check(self, schema: Any, where: str) -> None:
        """Refuse a schema in which a column that is used is missing or of another type."""
        refuse_missing(self.names, schema.names, where)
        for name in self.names:
            kind, found = self.types[name], schema.field(name).type
            if found != kind and _loose(found) != _loose(kind) and not self._becomes_alike(name, found, where):
                raise ValueError(
                    f"{where}: column {name!r} is {found}, but {kind} in the first file. Convert one of them, or leave the "
                    "column out with features=."
                )

    def _becomes_alike(self, name: str, found: Any, where: str) -> bool:
        """Whether a feature of this type becomes what it is in the first file: all numbers are float64, nothing is null."""
        if name not in self.features or (self.dtype != np.float64 and not self.is_frame):
            return False
        if _is_null(found):
            return True
        return {_kind(kind, name, where) for kind in (found, self.types[name])} == {"number"}

    def convert(self, table: Any, part: str | None = None, places: np.ndarray | None = None) -> dict[str, Any]:
        """Return the parts of a table, or one of them.

        Parameters
        ----------
        table : pyarrow.Table
        part : str, optional
            None (default): all.
        places : ndarray of shape (n_rows,), optional
            Where each row goes; None (default): as they lie.
        """
        if places is not None:
            parts = self._plain_parts(table, part, places)
            missing = [name for name in self.parts if part in (None, name) and name not in parts]
            for name in missing:
                parts[name] = _rows_at(self.convert(table, name)[name], places)
            return {name: parts[name] for name in self.parts if name in parts}
        parts = self._others(table, part)
        if part in (None, "X"):
            parts = {"X": self._frame(table) if self.is_frame else self._array(table), **parts}
        return parts

    def _others(self, table: Any, part: str | None) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        if self.targets and part in (None, "y"):
            columns = [_target(table.column(name), name, self._leave_out) for name in self.targets]
            parts["y"] = np.column_stack(columns) if self.target_is_list else columns[0]
        if self.weight and part in (None, "sample_weight"):
            parts["sample_weight"] = _numbers(table.column(self.weight)).astype(np.float64, copy=False)
        return parts

    def _plain_parts(self, table: Any, part: str | None, places: np.ndarray) -> dict[str, Any]:
        """Return the parts whose values lie one after another, without nulls, in one step that brings each row to its place."""
        native = _compiled.native
        if native is None or not self._names_are_plain or self.is_frame or len(batches := table.to_batches()) != 1:
            return {}
        names, addresses, letters = native.arrow_columns(*batches[0].__arrow_c_array__())
        column = {name: i for i, name in enumerate(names)}
        kinds = [_PLAIN.get(letter) for letter in letters]
        parts: dict[str, Any] = {}
        for name in self.parts:
            if part not in (None, name):
                continue
            columns = [column[of_part] for of_part in self.names_of(name)]
            where, converted = addresses[columns], []
            if name == "X" and not self.has_lists:
                dtype = self.dtype
                for j, i in enumerate(columns):
                    # with nulls, or of another kind; a dtype of floats would equal None
                    if kinds[i] is None or kinds[i] != dtype:
                        converted.append(np.ascontiguousarray(_numbers(table.column(i)), dtype))
                        where[j] = converted[-1].__array_interface__["data"][0]
            else:
                found = {kinds[i] for i in columns}
                one = found.pop() if len(found) == 1 else None
                if one is None or (name == "sample_weight" and one != np.float64):
                    continue
                dtype = one
            is_flat = name != "X" and not (name == "y" and self.target_is_list)
            rows = np.empty(len(places), dtype) if is_flat else empty_rows(len(places), len(columns), dtype)
            native.lay_rows(where, places, dtype.itemsize, rows.reshape(-1).view(np.uint8))
            parts[name] = rows
        return parts

    def _array(self, table: Any) -> np.ndarray:
        if self.has_lists:
            columns = [_rows(table.column(name), name, self._leave_out) for name in self.features]
            return np.concatenate(columns, axis=1, dtype=self.dtype)
        # In one step, of which threads make the most; several batches would have to be joined, which is the slower way.
        features = table.select(self.features)
        # other files may have other numbers
        if self.is_matrix and _is_matrix(features.schema.types) and len(batches := features.to_batches()) == 1:
            return batches[0].to_tensor(null_to_nan=True, row_major=True).to_numpy().astype(self.dtype, copy=False)
        X = empty_rows(len(table), len(self.features), self.dtype)
        for j, name in enumerate(self.features):
            X[:, j] = _numbers(table.column(name))
        return X

    def _frame(self, table: Any) -> Any:
        pa = require("pyarrow", extra="parquet", purpose="reading columns")
        table = table.select(self.features)
        for j, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):  # blocks would otherwise differ in their categories
                table = table.set_column(j, field.name, table.column(j).cast(field.type.value_type))
        return table.to_pandas(ignore_metadata=True)


def _rows_at(values: Any, places: np.ndarray) -> Any:
    """Return rows, each at its place."""
    if (
        _compiled.native is not None
        and type(values) is np.ndarray
        and values.ndim == 1
        and values.dtype.kind in "fiu"
        and values.dtype.itemsize in (4, 8)
        and values.flags.c_contiguous
        and values.flags.aligned
    ):
        rows = np.empty_like(values)
        address = np.array([values.__array_interface__["data"][0]], np.uintp)
        _compiled.native.lay_rows(address, places, values.itemsize, rows.view(np.uint8))
        return rows
    return take_into_rows(values, inverse(places))


def _index(schema: Any) -> list[str]:
    """Columns that were the index of a frame: it numbers rows, which is nothing to learn from."""
    columns = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in columns if isinstance(name, str)]


def _loose(kind: Any) -> Any:
    """Types that become the same kind of values are alike."""
    pa = require("pyarrow", extra="parquet", purpose="reading columns")
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return "integer"
    return kind


def _is_null(kind: Any) -> bool:
    pa = require("pyarrow", extra="parquet", purpose="reading columns")
    return pa.types.is_null(kind)


def _kind(kind: Any, name: str, where: str) -> str:
    pa = require("pyarrow", extra="parquet", purpose="reading columns")
    types = pa.types
    if types.is_dictionary(kind):
        return _kind(kind.value_type, name, where) if not types.is_string(kind.value_type) else "text"
    if any(is_number(kind) for is_number in (types.is_integer, types.is_floating, types.is_boolean)):
        return "number"
    if types.is_decimal(kind) or types.is_null(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or getattr(types, "is_string_view", types.is_null)(kind):
        return "text"
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list and _kind(kind.value_type, name, where) == "number":
        return "list"
    if types.is_temporal(kind):
        raise ValueError(
            f"{where}: column {name!r} is a date or a time ({kind}), which is no number to learn from. Derive numbers from it "
            "(hour, weekday, days since a start) before, or leave it out with features=."
        )
    raise ValueError(f"{where}: column {name!r} is {kind}, which cannot be a feature, a target or a weight.")


def _common_dtype(types: list[Any]) -> np.dtype:
    import pyarrow as pa

    values = {getattr(kind, "value_type", kind) for kind in types}
    return np.dtype(np.float32) if values and values <= {pa.float32(), pa.float16()} else np.dtype(np.float64)


def _is_matrix(types: list[Any]) -> bool:
    """Whether all columns are floats of the same kind."""
    import pyarrow as pa

    return {*types} in ({pa.float64()}, {pa.float32()})


def _width(kind: Any) -> int:
    """About how many bytes a value has in memory."""
    size = getattr(kind, "list_size", 16 if hasattr(kind, "value_type") else 1)
    return 8 * max(int(size), 1)


def _numbers(column: Any) -> np.ndarray:
    """Return the values of a column of numbers, nulls as NaN."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind) or (pa.types.is_boolean(kind) and column.null_count):
        column = column.cast(pa.uint8() if pa.types.is_boolean(kind) else pa.float64())
    return column.to_numpy()


def _rows(column: Any, name: str, leave_out: str) -> np.ndarray:
    """Return a column of numbers as one column of an array, and lists of numbers as rows."""
    import pyarrow as pa

    kind = column.type
    if not hasattr(kind, "value_type") or pa.types.is_dictionary(kind):
        return _numbers(column)[:, None]
    if column.null_count:
        raise ValueError(f"column {name!r} has nulls among its lists: {leave_out}.")
    lengths = {kind.list_size} if pa.types.is_fixed_size_list(kind) else set()
    if not lengths:
        import pyarrow.compute as pc

        lengths = set(pc.list_value_length(column).unique().to_pylist())
    if len(lengths) > 1:
        raise ValueError(
            f"column {name!r} has lists of lengths {min(lengths)} to {max(lengths)}: rows must be equally long."
        )
    chunks = [chunk.flatten() for chunk in column.chunks]
    values = _numbers(pa.chunked_array(chunks, kind.value_type))
    return values.reshape(len(column), -1)


def _target(column: Any, name: str, leave_out: str) -> np.ndarray:
    import pyarrow as pa

    if column.null_count:
        raise ValueError(f"the target {name!r} has {column.null_count} nulls: {leave_out}.")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values
