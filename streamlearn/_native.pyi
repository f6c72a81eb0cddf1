from array import array
from collections.abc import Callable, Sequence
from typing import Any

from numpy import dtype, ndarray

VERSION: int

def locate(
    streams: ndarray,
    lengths: ndarray,
    order: ndarray,
    pool: ndarray,
    block: int,
    steps: ndarray,
    lookup: ndarray | None,
    rows: ndarray,
    who: ndarray,
    moved: ndarray,
    columns: ndarray,
    squares: ndarray,
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
def invert(chances: ndarray, guide: ndarray, numbers: ndarray, out: ndarray) -> None: ...

class Waiting:
    def __init__(self, keys: ndarray, streams: ndarray, room: int) -> None: ...
    def __len__(self) -> int: ...
    def pop(self) -> tuple[float, int]: ...
    def push(self, key: float, stream: int) -> None: ...
    def swap(self, key: float, stream: int) -> tuple[float, int]: ...
    def columns(self) -> tuple[ndarray, ndarray]: ...

def end_visits(
    waiting: Waiting,
    again: bool,
    now: float,
    remaining: array[int],
    weights: array[float],
    lengths: ndarray,
    gaps: ndarray,
    more_lengths: Callable[[], ndarray],
    more_gaps: Callable[[], ndarray],
    order: ndarray,
    stops: ndarray,
    slots: ndarray,
    runs: ndarray,
) -> tuple[int, float, ndarray, ndarray]: ...
def assign(
    holder: ndarray,
    capped: ndarray,
    slots: ndarray,
    most_tries: int,
    draw: Callable[[], ndarray],
    choose: Callable[[], int],
) -> ndarray: ...
def deal(
    by_seat: ndarray, lengths: ndarray, of_runs: ndarray, order: ndarray, draws: ndarray, n_slots: int
) -> tuple[ndarray, ndarray, ndarray]: ...
def begin_some(
    some: ndarray, reached: ndarray, counts: ndarray, lengths: ndarray, n_visits: int
) -> tuple[ndarray, ndarray, ndarray, ndarray, ndarray]: ...
def put_together(
    left: ndarray, counts: ndarray, of: ndarray, begin: ndarray, end: ndarray
) -> tuple[ndarray, ndarray, ndarray, ndarray, ndarray, ndarray]: ...
def under_way(drawn: ndarray, seats: ndarray, fresh_passes: ndarray, left: ndarray) -> ndarray: ...
def choose(
    drawn: ndarray,
    n_slots: int,
    slots: ndarray,
    fresh: ndarray,
    muxes: ndarray,
    first: ndarray,
    n_streams: ndarray,
    numbers: ndarray,
) -> ndarray: ...
def settle(
    drawn: ndarray,
    lengths: ndarray,
    fresh: ndarray,
    last: ndarray,
    left: ndarray,
    new_streams: ndarray,
    seats: ndarray,
    fresh_passes: ndarray,
    last_passes: ndarray,
    holder: ndarray,
    to_left: ndarray,
) -> list[ndarray]: ...
def arrow_columns(schema: Any, array: Any) -> tuple[list[str], ndarray, bytes]: ...
def addresses(arrays: Sequence[Any], dtype: dtype, shape: tuple[int, ...]) -> ndarray | None: ...
