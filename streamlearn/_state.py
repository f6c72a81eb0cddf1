"""States: what iterators and training say of themselves so that they can be resumed, as JSON-able dicts of fixed shape."""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ._rows import is_frame

_PACKED_FROM = 32  # numbers; shorter lists stay readable


def pack(value: Any) -> Any:
    """Return a JSON-able form of numbers, texts, arrays, generators of random numbers, and lists, sets and dicts of them.

    Long lists of numbers and arrays become compressed text.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return pack(float(value) if isinstance(value, np.longdouble) else value.item())
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray) or value.dtype.names:
            raise TypeError(f"an array of {value.dtype}, a {type(value).__name__}, cannot be saved in a state.")
        if value.dtype.hasobject or value.dtype.kind == "T":
            elements = [{"tuple": pack(x)} if isinstance(x, tuple) else pack(x) for x in value.ravel().tolist()]
            return {"objects": elements, "shape": list(value.shape)}
        data = zlib.compress(np.ascontiguousarray(value).tobytes(), 1)
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": base64.b64encode(data).decode()}
    if isinstance(value, np.random.Generator):
        return {"generator": pack_numbers(value.bit_generator.state)}
    if isinstance(value, np.random.RandomState):
        return {"random_state": pack_numbers(value.get_state(legacy=False))}
    if isinstance(value, (set, frozenset)):
        return {"set": pack(sorted(value))}
    if isinstance(value, (list, tuple)):
        if len(value) >= _PACKED_FROM and (kind := _common_type(value)) is not None:
            return {"list": pack(np.array(value, kind))}
        return [pack(element) for element in value]
    if sparse.issparse(value):
        value = value.tocsr()
        return {"csr": [pack(part) for part in (value.data, value.indices, value.indptr)], "shape": list(value.shape)}
    if is_frame(value):
        return _pack_frame(value)
    if isinstance(value, Mapping):
        return {"dict": [pack(list(value)), pack(list(value.values()))]}
    raise TypeError(f"a {type(value).__name__} cannot be saved in a state: {value!r}.")


def unpack(packed: Any) -> Any:
    """Return what :func:`pack` was given; tuples come back as lists."""
    if isinstance(packed, list):
        return [unpack(element) for element in packed]
    if not isinstance(packed, dict):
        return packed
    if "float" in packed:
        return float(packed["float"])
    if "data" in packed:
        data = zlib.decompress(base64.b64decode(packed["data"]))
        return np.frombuffer(data, packed["dtype"]).reshape(packed["shape"]).copy()
    if "bytes" in packed:
        return base64.b64decode(packed["bytes"])
    if "tuple" in packed:
        return tuple(unpack(packed["tuple"]))
    if "objects" in packed:
        array = np.empty(len(packed["objects"]), object)
        array[:] = unpack(packed["objects"])
        return array.reshape(packed["shape"])
    if "generator" in packed:
        state = unpack_numbers(packed["generator"])
        bits = getattr(np.random, state["bit_generator"])(0)
        bits.state = state
        return np.random.Generator(bits)
    if "random_state" in packed:
        random_state = np.random.RandomState(0)
        random_state.set_state(unpack_numbers(packed["random_state"]))
        return random_state
    if "set" in packed:
        return set(unpack(packed["set"]))
    if "list" in packed:
        return unpack(packed["list"]).tolist()
    if "csr" in packed:
        return sparse.csr_matrix(tuple(unpack(packed["csr"])), shape=packed["shape"])
    if "frame" in packed:
        return _unpack_frame(packed)
    if "dict" in packed:
        keys, values = unpack(packed["dict"])
        return dict(zip(keys, values, strict=True))
    raise ValueError(f"the state holds something unknown: {sorted(packed)}.")


def pack_numbers(value: Any) -> Any:
    """Pack nested dicts with text keys, such as NumPy's states of generators, whose shape is told by their keys."""
    return {key: pack_numbers(part) for key, part in value.items()} if isinstance(value, dict) else pack(value)


def unpack_numbers(packed: Any) -> Any:
    if isinstance(packed, dict) and "data" not in packed:
        return {key: unpack_numbers(part) for key, part in packed.items()}
    return unpack(packed)


def _pack_frame(frame: Any) -> dict[str, Any]:
    """Pack a frame column by column, with its dtypes by name; categories of pandas in their order."""
    library = type(frame).__module__.split(".")[0]
    if library == "polars":
        file = io.BytesIO()
        frame.write_ipc(file)
        return {"frame": library, "ipc": pack(file.getvalue())}
    extensions = [str(kind) for kind in frame.dtypes if not isinstance(kind, np.dtype) and str(kind) != "category"]
    if extensions or not frame.columns.is_unique or frame.columns.nlevels > 1:
        raise TypeError(
            f"a DataFrame with columns of pandas' own kinds ({extensions}), of one name or of several levels cannot be saved: "
            "make columns of NumPy's kinds of them, or take a batch_size that is a multiple of the rows of an item."
        )
    columns = []
    for name in frame.columns:
        values = frame[name]
        categories = getattr(getattr(values, "cat", None), "categories", None)
        columns.append(
            {
                "name": pack(name),
                "dtype": str(values.dtype),
                "values": pack(np.asarray(values) if categories is None else values.cat.codes.to_numpy()),
                "categories": None if categories is None else pack(np.asarray(categories)),
                "ordered": bool(getattr(getattr(values, "cat", None), "ordered", False))
                if categories is not None
                else False,
            }
        )
    return {"frame": library, "columns": columns, "n": len(frame)}


def _unpack_frame(packed: dict[str, Any]) -> Any:
    if packed["frame"] == "polars":
        import polars

        return polars.read_ipc(io.BytesIO(unpack(packed["ipc"])))
    import pandas

    made = {}
    for column in packed["columns"]:
        values = unpack(column["values"])
        if column["categories"] is not None:
            kind = pandas.CategoricalDtype(unpack(column["categories"]), column["ordered"])
            made[unpack(column["name"])] = pandas.Series(pandas.Categorical.from_codes(values, dtype=kind))
        else:
            made[unpack(column["name"])] = pandas.Series(values).astype(column["dtype"])
    return pandas.DataFrame(made, index=range(packed["n"]))


def _common_type(values: Any) -> type | None:
    kinds = {type(value) for value in values}
    if kinds == {int} and min(values) >= -(2**63) and max(values) < 2**63:
        return np.int64
    return np.float64 if kinds == {float} else None


def check_state(state: Any, kind: str, version: int, keys: Mapping | set[str] | tuple[str, ...]) -> None:
    """Refuse a state of another kind, version or shape.

    Raises
    ------
    ValueError
    """
    if not isinstance(state, dict) or state.get("kind") != kind:
        found = state.get("kind") if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"state is not one of a {kind}, but of {found!r}: load what state_dict() of the same kind of object gave."
        )
    if state.get("version") != version:
        raise ValueError(
            f"state has version {state.get('version')!r} of the {kind}, and this version of streamlearn reads {version}: "
            "resume with the version that saved it, or begin anew."
        )
    expected = {"kind", "version", *keys}
    if set(state) != expected:
        raise ValueError(
            f"state of the {kind} has other parts than it should: missing {sorted(expected - set(state))}, unexpected "
            f"{sorted(set(state) - expected)}."
        )


def check_same(state: dict[str, Any], what: str, **expected: Any) -> None:
    """Refuse a state whose parts of these names differ: it belongs to something else."""
    for name, value in expected.items():
        if state[name] != value:
            raise ValueError(
                f"state was saved of {what} with {name}={state[name]!r}, and this one has {value!r}: load it into one that is "
                "made in the same way."
            )


def check_whole(what: str, numbers: Any, start: int, stop: int, n: int | None = None, distinct: bool = False) -> None:
    """Refuse numbers of a state of which one is no whole number from ``start`` to before ``stop``, or that are not ``n``.

    What trusts them would look for streams that are not there, or never end.

    Raises
    ------
    ValueError
    """
    array = np.asarray(numbers if isinstance(numbers, np.ndarray) else [*numbers] if np.iterable(numbers) else numbers)
    fits = array.ndim == 1 and (array.dtype.kind in "iu" or not array.size) and n in (None, len(array))
    if fits and array.size:
        fits = start <= int(array.min()) and int(array.max()) < stop
    if not fits or (distinct and len(np.unique(array)) < len(array)):
        shown = np.array2string(array, threshold=8) if array.ndim else repr(numbers)
        which = f"{'' if n is None else f'{n} '}{'different ' if distinct else ''}whole numbers"
        raise ValueError(
            f"state is damaged: {what} must be {which} of at least {start} and below {stop}, got {shown}. Begin anew, or from "
            "another state."
        )


def save_iterator(iterator: Any, n_given: int) -> dict[str, Any]:
    """Return the state of a running stream: its own where it tells it, else the number of items to skip."""
    own = iterator.state_dict() if hasattr(iterator, "state_dict") else None
    return {"n_items": n_given, "own": own}


def restore_iterator(start: Callable[[], Iterator], saved: dict[str, Any], name: str) -> Iterator:
    """Start a stream and bring it to where it was saved."""
    iterator = start()
    if saved["own"] is not None:
        if not hasattr(iterator, "load_state_dict"):
            raise ValueError(f"{name} had a state_dict when the state was saved, and has no load_state_dict now.")
        iterator.load_state_dict(saved["own"])
        return iterator
    for n in range(saved["n_items"]):
        try:
            next(iterator)
        except StopIteration:
            raise ValueError(
                f"{name} had given {saved['n_items']} items when the state was saved, and ends after {n} now: its data has "
                "changed."
            ) from None
    return iterator
