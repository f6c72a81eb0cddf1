from typing import Any

from numpy import ndarray

VERSION: int

def locate(
    streams: ndarray,
    lengths: ndarray,
    order: ndarray,
    sizes: ndarray,
    shuffled: ndarray,
    keys: ndarray,
    places: ndarray,
    passes: ndarray,
    scratch: ndarray,
    starts: ndarray,
    steps: ndarray,
    lookup: ndarray | None,
    rows: ndarray,
    who: ndarray,
    moved: ndarray,
    columns: ndarray,
) -> int: ...
def permute(size: int, key: int, out: ndarray) -> None: ...
def sort_slots(slots: ndarray, order: ndarray, ends: ndarray) -> None: ...
def count(starts: ndarray, lengths: ndarray, step: int, order: ndarray, out: ndarray) -> None: ...
def take(base: int, unit: int, index: ndarray, row: int, out: ndarray) -> None: ...
def sum_of_squares(values: ndarray) -> float: ...
def lay_rows(columns: ndarray, places: ndarray, size: int, out: ndarray) -> None: ...
def mix(*keys: int) -> int: ...
def seed_words(seed: int, n: int) -> ndarray: ...
def keep(
    item: Any, X_room: ndarray, y_room: ndarray, start: int, most: int, X_limit: float | None, y_limit: float | None
) -> int: ...
