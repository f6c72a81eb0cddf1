# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The loops of ``_kernels.h`` and ``_visits.h`` for arrays; other threads use the interpreter meanwhile."""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isinf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

cnp.import_array()

ctypedef const double const_double
ctypedef const float const_float

ctypedef fused floating:
    const_double
    const_float

VERSION = 5  # of what functions take and give: _compiled.py leaves those of another one alone

cdef extern from "_kernels.h" nogil:
    int SL_TABLES
    ctypedef struct sl_stream:
        int64_t size
    int64_t sl_locate(
        int64_t n_runs, const int64_t *streams, const int64_t *lengths, const int64_t *order, int64_t n, sl_stream *pool,
        int64_t n_tables, const int64_t *steps, int64_t *out, int32_t *who, int64_t *present, int64_t *places,
        int64_t *passes)
    void sl_permute(int64_t n, int64_t size, uint32_t key, int64_t *out)
    void sl_sort_slots(const uint16_t *slots, int64_t n, int64_t n_slots, int64_t *order, int64_t *ends)
    void sl_count(
        int64_t n_runs, const int64_t *starts, const int64_t *lengths, int64_t step, const int64_t *order, int64_t *out)
    void sl_take(const char *base, int64_t unit, const int64_t *index, int64_t n, int64_t row, char *out)
    double sl_take_and_add(
        const char *base, int64_t unit, const int64_t *index, int64_t n, int64_t row, char *out, int64_t size)
    void sl_look_up(const int64_t *table, int64_t *index, int64_t n)
    double sl_sum_of_squares_8(const double *values, int64_t n)
    double sl_sum_of_squares_4(const float *values, int64_t n)
    void sl_lay_rows_8(const char **columns, int64_t n_columns, const int64_t *places, int64_t n, char *out)
    void sl_lay_rows_4(const char **columns, int64_t n_columns, const int64_t *places, int64_t n, char *out)
    ctypedef struct sl_arrow_schema:
        const char *name
        int64_t n_children
        sl_arrow_schema **children
    ctypedef struct sl_arrow_array:
        int64_t n_children, offset
        sl_arrow_array **children
    char sl_arrow_column(
        const sl_arrow_schema *schema, const sl_arrow_array *array, int64_t offset, uintptr_t *address)
    void sl_copy_rows(const char *rows, int64_t step, int64_t n, int64_t row, char *out)
    uint64_t sl_mix(uint64_t h, uint64_t key)

cdef extern from "_visits.h" nogil:
    void sl_invert(
        const double *chances, const int64_t *guide, int64_t n_guides, const double *numbers, int64_t n, int64_t *out)
    ctypedef struct sl_waiting:
        double *keys
        int64_t *streams
        int64_t n
    void sl_push(sl_waiting *w, double key, int64_t stream)
    void sl_pop(sl_waiting *w, double *key, int64_t *stream)
    void sl_swap(sl_waiting *w, double *key, int64_t *stream)
    ctypedef struct sl_visits:
        sl_waiting *waiting
        int64_t again
        double now
        int64_t *remaining
        const double *weights
        const int64_t *lengths
        int64_t n_lengths
        const double *gaps
        int64_t n_gaps, n_slots
        const int64_t *order
        const int64_t *stops
        int64_t *holder
        int64_t *left
        int64_t *planned
        int64_t *used
        int64_t *due
        int64_t *run_slots
        int64_t *run_streams
        int64_t *run_lengths
        int64_t n_runs
    int SL_GAPS, SL_LENGTHS, SL_BROKEN
    void sl_begin_visits(sl_visits *v)
    int sl_end_visits(sl_visits *v)
    void sl_go_on(sl_visits *v)

cdef extern from "_within.h" nogil:
    ctypedef struct sl_runs:
        int64_t n_runs
        const int64_t *by_seat
        const int64_t *starts
        const int64_t *lengths
        const int64_t *of_runs
        const int64_t *order
        const uint16_t *draws
    int64_t sl_deal(
        const sl_runs *r, int64_t n_slots, int64_t *begins, int64_t *touched, int64_t *order, int64_t *drawn, int64_t *counts)
    int64_t sl_begin_some(
        int64_t *some, int64_t *reached, int64_t *n_some, const int64_t *counts, const int64_t *lengths, int64_t n_visits,
        int64_t *slots, int64_t *starts, int64_t *ends)
    void sl_put_together(
        int64_t n_slots, const int64_t *counts, const int64_t *under_way, int64_t n, const int64_t *of, const int64_t *begin,
        const int64_t *end, int64_t *slots, int64_t *starts, int64_t *lengths, uint8_t *fresh, int64_t *last, int64_t *left)
    ctypedef struct sl_seats:
        int64_t n_passes, n_slots
        const int64_t *seats
        const uint8_t *fresh
        const uint8_t *last
        int64_t *holder
        int64_t *left
    int64_t sl_settle(
        const sl_seats *s, int64_t n_drawn, const int64_t *drawn, const int64_t *last, const int64_t *left,
        const int64_t *lengths, const uint8_t *fresh, const int64_t *new_streams, int64_t *out_streams, int64_t *out_lengths,
        int64_t *out_seats, uint8_t *out_fresh)

cdef int64_t LITTLE = 2**16  # bytes that are copied faster than a thread gives the interpreter away and takes it again
cdef uint64_t FIRST = 0x9E3779B97F4A7C15  # of what is mixed


def locate(
    const int64_t[::1] streams, const int64_t[::1] lengths, const int64_t[::1] order, uint8_t[::1] pool,
    const int64_t[::1] steps, const int64_t[::1] lookup, int64_t[:, ::1] rows, int32_t[::1] who, int64_t[:, ::1] moved,
    const int64_t[:, ::1] columns, double[::1] squares,
):
    """Write where samples lie to ``rows``, their streams to ``who``, and perhaps the samples themselves.

    ``pool`` is what is known of streams, as ``sl_stream`` has it, and is moved on. ``moved`` gets the streams that moved, and the
    places and passes where they stood. Each of ``columns`` is which of ``rows`` tells where its values lie, an address and the
    bytes from one row to the next, the bytes of a value, the address where values go, in time, and of what size (4 or 8) floats
    are whose ``squares`` are to be added up; 0: of none. Returns how many streams moved. One call does it all: between two, a
    thread would have to wait for the interpreter.
    """
    cdef sl_stream *of = <sl_stream *>&pool[0] if pool.shape[0] else NULL
    cdef int64_t n_streams = pool.shape[0] // <int64_t>sizeof(sl_stream), n_moved = 0, n = 0, i
    # what follows trusts them, and would read and write elsewhere
    for i in range(lengths.shape[0]):
        n += lengths[i]
        if lengths[i] and (lengths[i] < 0 or not 0 <= streams[i] < n_streams or of[streams[i]].size <= 0):
            raise ValueError(f"run {i} has {lengths[i]} samples of stream {streams[i]}")
    if n != order.shape[0] or n >= 2**31:
        raise ValueError(f"runs of {n} samples have {order.shape[0]} places in time")
    if steps.shape[0] > SL_TABLES:
        raise ValueError(f"{steps.shape[0]} tables are more than {SL_TABLES}")
    if not n:
        return 0
    with nogil:
        n_moved = sl_locate(
            streams.shape[0], &streams[0], &lengths[0], &order[0], n, of, steps.shape[0], &steps[0],
            &rows[0, 0], &who[0], &moved[0, 0], &moved[1, 0], &moved[2, 0])
        if lookup is not None:
            sl_look_up(&lookup[0], &rows[0, 0], rows.shape[1])
        for i in range(columns.shape[0]):
            if columns[i, 5] and columns[i, 3]:
                squares[i] = sl_take_and_add(
                    <const char *><uintptr_t>columns[i, 1], columns[i, 2], &rows[columns[i, 0], 0], rows.shape[1],
                    columns[i, 3], <char *><uintptr_t>columns[i, 4], columns[i, 5])
            else:
                sl_take(
                    <const char *><uintptr_t>columns[i, 1], columns[i, 2], &rows[columns[i, 0], 0], rows.shape[1],
                    columns[i, 3], <char *><uintptr_t>columns[i, 4])
    return n_moved


def permute(int64_t size, uint32_t key, int64_t[::1] out):
    """Write the first elements of a permutation to ``out``."""
    if out.shape[0] > size:
        raise ValueError(f"a permutation of {size} has no {out.shape[0]} elements")
    if out.shape[0]:
        with nogil:
            sl_permute(out.shape[0], size, key, &out[0])


def sort_slots(const uint16_t[::1] slots, int64_t[::1] order, int64_t[::1] ends):
    """Write the places of draws, sorted by slot, to ``order``, and where each slot ends among them to ``ends``."""
    cdef Py_ssize_t i
    if not slots.shape[0]:
        ends[:] = 0
        return
    for i in range(slots.shape[0]):  # what follows trusts them
        if slots[i] >= ends.shape[0]:
            raise ValueError(f"slot {slots[i]} is drawn of {ends.shape[0]}")
    with nogil:
        sl_sort_slots(&slots[0], slots.shape[0], ends.shape[0], &order[0], &ends[0])


def count(const int64_t[::1] starts, const int64_t[::1] lengths, int64_t step, const int64_t[::1] order, int64_t[::1] out):
    """Write counted numbers to ``out``: see ``_permute.counted_from``."""
    if not lengths.shape[0] or not order.shape[0]:
        return
    with nogil:
        sl_count(lengths.shape[0], &starts[0], &lengths[0], step, &order[0], &out[0])


def take(uintptr_t base, int64_t unit, const int64_t[::1] index, int64_t row, uint8_t[::1] out):
    """Write the rows of ``row`` bytes at ``base + unit * index`` to ``out``."""
    if not index.shape[0] or not row:
        return
    with nogil:
        sl_take(<const char *>base, unit, &index[0], index.shape[0], row, <char *>&out[0])


def sum_of_squares(floating[::1] values):
    """Return the sum of the squares of floats."""
    cdef double total = 0.0
    if values.shape[0]:
        with nogil:
            if floating is const_double:
                total = sl_sum_of_squares_8(&values[0], values.shape[0])
            else:
                total = sl_sum_of_squares_4(&values[0], values.shape[0])
    return total


def lay_rows(uintptr_t[::1] columns, const int64_t[::1] places, int64_t size, uint8_t[::1] out):
    """Write values at the addresses of ``columns``, of ``size`` bytes (4 or 8), to the rows that ``places`` says."""
    cdef int64_t n = places.shape[0]
    if not n or not columns.shape[0]:
        return
    with nogil:
        if size == 8:
            sl_lay_rows_8(<const char **>&columns[0], columns.shape[0], &places[0], n, <char *>&out[0])
        else:
            sl_lay_rows_4(<const char **>&columns[0], columns.shape[0], &places[0], n, <char *>&out[0])


def mix(*keys):
    """Hash integers into a seed: see ``_random.mix``."""
    cdef uint64_t h = FIRST
    for key in keys:
        h = sl_mix(h, PyLong_AsUnsignedLongLongMask(key))
    return h


def seed_words(seed, Py_ssize_t n):
    """Return ``n`` words of 64 bits: see ``_random.seed_words``."""
    cdef cnp.npy_intp shape = n
    cdef cnp.ndarray words = cnp.PyArray_SimpleNew(1, &shape, cnp.NPY_UINT64)
    cdef uint64_t h = sl_mix(FIRST, PyLong_AsUnsignedLongLongMask(seed))
    for i in range(n):
        (<uint64_t *>cnp.PyArray_DATA(words))[i] = sl_mix(h, i)
    return words


cdef int64_t copied(cnp.ndarray part, cnp.ndarray room, int64_t start, limit) except -2:
    """Copy rows to a room like them; 1: done, 0: their squares are not below a limit, -1: NumPy has to do it."""
    cdef int64_t n = cnp.PyArray_DIM(part, 0), row = cnp.PyArray_ITEMSIZE(part)
    cdef int kind = cnp.PyArray_TYPE(part)
    cdef double total
    cdef bint checked
    cdef char *out
    if cnp.PyArray_NDIM(part) == 2:
        if cnp.PyArray_STRIDE(part, 1) != row and cnp.PyArray_DIM(part, 1) > 1:
            return -1
        row *= cnp.PyArray_DIM(part, 1)
    out = <char *>cnp.PyArray_DATA(room) + start * row
    if limit is not None and not (kind == cnp.NPY_DOUBLE or kind == cnp.NPY_FLOAT and isinf(<double>limit)):
        return -1
    if limit is not None and not cnp.PyArray_ISNOTSWAPPED(room):
        return -1
    if n * row < LITTLE:
        total = copy_and_sum(cnp.PyArray_BYTES(part), cnp.PyArray_STRIDE(part, 0), n, row, out, kind, limit is not None)
    else:
        checked = limit is not None
        with nogil:
            total = copy_and_sum(cnp.PyArray_BYTES(part), cnp.PyArray_STRIDE(part, 0), n, row, out, kind, checked)
    return limit is None or not row or total < <double>limit


cdef double copy_and_sum(
    const char *rows, int64_t step, int64_t n, int64_t row, char *out, int kind, bint is_checked) noexcept nogil:
    """Copy rows, and return the sum of their squares if it is asked for."""
    sl_copy_rows(rows, step, n, row, out)
    if not is_checked or not row:
        return 0.0
    if kind == cnp.NPY_DOUBLE:
        return sl_sum_of_squares_8(<const double *>out, n * row // 8)
    return sl_sum_of_squares_4(<const float *>out, n * row // 4)


def keep(item, cnp.ndarray X_room, cnp.ndarray y_room, Py_ssize_t start, Py_ssize_t most, X_limit, y_limit):
    """Copy the rows of an item to rooms, as ``_joiner.keep`` does; -1: it has to."""
    cdef int64_t n
    cdef int64_t done
    if type(item) is not dict or len(<dict>item) != 2:
        return 0
    X, y = (<dict>item).get("X"), (<dict>item).get("y")
    if not cnp.PyArray_CheckExact(X) or not cnp.PyArray_CheckExact(y):
        return 0
    if not 0 <= start <= most <= min(cnp.PyArray_DIM(X_room, 0), cnp.PyArray_DIM(y_room, 0)):
        raise ValueError(f"rooms of {len(X_room)} and {len(y_room)} rows are filled from {start} to {most}")
    if not (cnp.PyArray_IS_C_CONTIGUOUS(X_room) and cnp.PyArray_IS_C_CONTIGUOUS(y_room)):
        raise ValueError("rooms have gaps")
    if cnp.PyArray_DESCR(X) != cnp.PyArray_DESCR(X_room) or cnp.PyArray_DESCR(y) != cnp.PyArray_DESCR(y_room):
        return 0
    if cnp.PyArray_NDIM(X) != 2 or cnp.PyArray_NDIM(y) != 1 or cnp.PyArray_DIM(X, 1) != cnp.PyArray_DIM(X_room, 1):
        return 0
    n = cnp.PyArray_DIM(X, 0)
    if not n or n != cnp.PyArray_DIM(y, 0) or n > most - start:
        return 0
    done = copied(X, X_room, start, X_limit)
    if done == 1:
        done = copied(y, y_room, start, y_limit)
    return n if done == 1 else done


def invert(const double[::1] chances, const int64_t[::1] guide, const double[::1] numbers, int64_t[::1] out):
    """Write one more than the place of each of ``numbers`` among ``chances`` to ``out``: see ``_visits._table``."""
    if numbers.shape[0]:
        with nogil:
            sl_invert(&chances[0], &guide[0], guide.shape[0], &numbers[0], numbers.shape[0], &out[0])


cdef class Waiting:
    """Streams that wait, as in ``_waiting.Waiting``."""

    cdef sl_waiting heap
    cdef double[::1] keys
    cdef int64_t[::1] streams

    def __cinit__(self, const double[::1] keys, const int64_t[::1] streams, Py_ssize_t room):
        cdef Py_ssize_t i
        if not keys.shape[0] == streams.shape[0] <= room:
            raise ValueError(f"{keys.shape[0]} keys of {streams.shape[0]} streams have room for {room}")
        for i in range(streams.shape[0]):  # what plans visits trusts them
            if not 0 <= streams[i] < room:
                raise ValueError(f"stream {streams[i]} waits among {room}")
        self.keys, self.streams = empty(room, cnp.NPY_DOUBLE), empty(room, cnp.NPY_INT64)
        self.keys[: keys.shape[0]] = keys
        self.streams[: keys.shape[0]] = streams
        self.heap.n = keys.shape[0]
        if room:
            self.heap.keys, self.heap.streams = &self.keys[0], &self.streams[0]

    def __len__(self):
        return self.heap.n

    def __reduce__(self):
        return Waiting, (*self.columns(), self.keys.shape[0])

    def pop(self):
        cdef double key = 0
        cdef int64_t stream = 0
        if not self.heap.n:
            raise IndexError("no stream waits")
        sl_pop(&self.heap, &key, &stream)
        return key, stream

    def push(self, double key, int64_t stream):
        if self.heap.n == self.keys.shape[0]:
            raise ValueError(f"{self.heap.n} streams wait, and there is room for no more")
        sl_push(&self.heap, key, stream)

    def swap(self, double key, int64_t stream):
        sl_swap(&self.heap, &key, &stream)
        return key, stream

    def columns(self):
        cdef Py_ssize_t n = self.heap.n
        keys, streams = empty(n, cnp.NPY_DOUBLE), empty(n, cnp.NPY_INT64)
        cdef double[::1] key_room = keys
        cdef int64_t[::1] stream_room = streams
        key_room[:] = self.keys[:n]
        stream_room[:] = self.streams[:n]
        return keys, streams


cdef empty(cnp.npy_intp n, int kind):
    return cnp.PyArray_SimpleNew(1, &n, kind)


def end_visits(
    Waiting waiting, bint again, double now, int64_t[::1] remaining, const double[::1] weights, lengths, gaps,
    more_lengths, more_gaps, const int64_t[::1] order, const int64_t[::1] stops, int64_t[:, ::1] slots,
    int64_t[:, ::1] runs,
):
    """Plan visits that end as their streams do: see ``_plan.Planner``.

    ``lengths`` and ``gaps`` were drawn before and are used from the end; ``more_lengths`` and ``more_gaps`` draw others. ``slots``
    are what each holds (at last ``-2 - stream`` if it has died), has left and had planned, and get how many draws are used, and
    need room for one row more. ``runs`` get the slots, streams and lengths of what is given. Returns how many runs there are,
    the last key, and the lengths and gaps that are left.
    """
    cdef sl_visits v
    cdef int lack
    cdef int64_t n = slots.shape[1], i, start = 0
    cdef const int64_t[::1] of_lengths = lengths
    cdef const double[::1] of_gaps = gaps
    if slots.shape[0] != 5 or stops.shape[0] != n or runs.shape[0] != 3 or runs.shape[1] < order.shape[0] + n:
        raise ValueError("there is no room for what slots give")
    if weights.shape[0] != remaining.shape[0] or waiting.keys.shape[0] < remaining.shape[0] or not n or not order.shape[0]:
        raise ValueError("slots, streams and their weights do not fit each other")
    for i in range(n):  # what follows trusts them
        if not (slots[0, i] < remaining.shape[0] and start <= stops[i] <= order.shape[0]):
            raise ValueError(f"slot {i} holds stream {slots[0, i]} until {stops[i]}")
        if slots[0, i] >= 0 and not 1 <= slots[1, i] <= slots[2, i] <= remaining[slots[0, i]]:
            raise ValueError(f"slot {i} has {slots[1, i]} of {slots[2, i]} samples of a stream of {remaining[slots[0, i]]}")
        start = stops[i]
        slots[3, i] = 0
    v.waiting, v.again, v.now = &waiting.heap, again, now
    v.remaining, v.weights = &remaining[0], &weights[0]
    v.n_slots, v.order, v.stops = n, &order[0], &stops[0]
    v.holder, v.left, v.planned, v.used, v.due = &slots[0, 0], &slots[1, 0], &slots[2, 0], &slots[3, 0], &slots[4, 0]
    v.run_slots, v.run_streams, v.run_lengths, v.n_runs = &runs[0, 0], &runs[1, 0], &runs[2, 0], 0
    v.n_lengths, v.n_gaps = of_lengths.shape[0], of_gaps.shape[0]
    v.lengths = &of_lengths[0] if v.n_lengths else NULL
    v.gaps = &of_gaps[0] if v.n_gaps else NULL
    with nogil:
        sl_begin_visits(&v)
    while True:
        with nogil:
            lack = sl_end_visits(&v)
        if lack == SL_GAPS:
            gaps = of_gaps = more_gaps()
            v.n_gaps, v.gaps = of_gaps.shape[0], &of_gaps[0]
        elif lack == SL_LENGTHS:
            lengths = of_lengths = more_lengths()
            v.n_lengths, v.lengths = of_lengths.shape[0], &of_lengths[0]
        elif lack == SL_BROKEN:
            raise ValueError("a visit would have no items: streams, or lengths of visits, are not those of the pool")
        else:
            break
    with nogil:
        sl_go_on(&v)
    return v.n_runs, v.now, lengths[: v.n_lengths], gaps[: v.n_gaps]


def deal(
    const int64_t[::1] by_seat, const int64_t[::1] lengths, const int64_t[::1] of_runs, const int64_t[::1] order,
    const uint16_t[::1] draws, int64_t n_slots,
):
    """Sort the samples of passes by slot: see ``_nested.Passes.deal``."""
    cdef sl_runs r
    cdef cnp.npy_intp n_runs = lengths.shape[0], n = order.shape[0]
    cdef int64_t i, total = 0, n_drawn
    cdef int64_t[::1] starts = empty(n_runs, cnp.NPY_INT64), scratch = empty(2 * n_slots, cnp.NPY_INT64)
    dealt, drawn, counts = empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64)
    cdef int64_t[::1] to_dealt = dealt, to_drawn = drawn, to_counts = counts
    if not n or by_seat.shape[0] != n_runs or of_runs.shape[0] != n_runs or draws.shape[0] != n:
        raise ValueError("runs, samples and their slots do not fit each other")
    for i in range(n_runs):
        if not 0 <= by_seat[i] < n_runs or lengths[i] < 0:
            raise ValueError(f"run {by_seat[i]} is none of {n_runs}, or has {lengths[i]} samples")
        starts[i] = total
        total += lengths[i]
    if total != n:
        raise ValueError(f"runs of {total} samples have {n} places in time")
    for i in range(n):
        if draws[i] >= n_slots:
            raise ValueError(f"slot {draws[i]} is drawn of {n_slots}")
    r.n_runs, r.by_seat, r.starts, r.lengths, r.of_runs = n_runs, &by_seat[0], &starts[0], &lengths[0], &of_runs[0]
    r.order, r.draws = &order[0], &draws[0]
    with nogil:
        n_drawn = sl_deal(&r, n_slots, &scratch[0], &scratch[n_slots], &to_dealt[0], &to_drawn[0], &to_counts[0])
    return dealt, drawn[:n_drawn], counts[:n_drawn]


def begin_some(
    int64_t[::1] some, int64_t[::1] reached, const int64_t[::1] counts, const int64_t[::1] lengths, int64_t n_visits
):
    """Begin visits in slots: see ``_plan.lay_out``. Returns what is left of ``some`` and ``reached``, which are changed, and visits."""
    cdef cnp.npy_intp n = lengths.shape[0]
    cdef int64_t n_some = some.shape[0], n_begun, i
    slots, starts, ends = empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64)
    cdef int64_t[::1] to_slots = slots, to_starts = starts, to_ends = ends
    if not n or reached.shape[0] != n_some or n != n_some * n_visits:
        raise ValueError(f"{n} lengths are not {n_visits} for each of {n_some} slots")
    for i in range(n_some):
        if not 0 <= some[i] < counts.shape[0]:
            raise ValueError(f"slot {some[i]} is none of {counts.shape[0]}")
    with nogil:
        n_begun = sl_begin_some(
            &some[0], &reached[0], &n_some, &counts[0], &lengths[0], n_visits, &to_slots[0], &to_starts[0], &to_ends[0])
    return some.base[:n_some], reached.base[:n_some], slots[:n_begun], starts[:n_begun], ends[:n_begun]


def put_together(
    const int64_t[::1] left, const int64_t[::1] counts, const int64_t[::1] of, const int64_t[::1] begin, const int64_t[::1] end
):
    """Put visits together by slot: see ``_plan.Visits``, whose columns are returned."""
    cdef cnp.npy_intp n_slots = counts.shape[0], n = of.shape[0], n_visits = n_slots + n, i
    out = (
        empty(n_visits, cnp.NPY_INT64), empty(n_visits, cnp.NPY_INT64), empty(n_visits, cnp.NPY_INT64),
        empty(n_visits, cnp.NPY_BOOL), empty(n_slots, cnp.NPY_INT64), empty(n_slots, cnp.NPY_INT64),
    )
    cdef int64_t[::1] slots = out[0], starts = out[1], lengths = out[2], last = out[4], to_left = out[5]
    cdef uint8_t[::1] fresh = out[3].view("u1")
    if left.shape[0] != n_slots or begin.shape[0] != n or end.shape[0] != n:
        raise ValueError("visits and slots do not fit each other")
    for i in range(n):
        if not 0 <= of[i] < n_slots:
            raise ValueError(f"slot {of[i]} is none of {n_slots}")
    if n_slots:
        with nogil:
            sl_put_together(
                n_slots, &counts[0], &left[0], n, &of[0] if n else NULL, &begin[0] if n else NULL, &end[0] if n else NULL,
                &slots[0], &starts[0], &lengths[0], &fresh[0], &last[0], &to_left[0])
    return out


def settle(
    const int64_t[::1] drawn, const int64_t[::1] lengths, const uint8_t[::1] fresh, const int64_t[::1] last,
    const int64_t[::1] left, const int64_t[::1] new_streams, const int64_t[::1] seats, const uint8_t[::1] fresh_passes,
    const uint8_t[::1] last_passes, int64_t[:, ::1] holder, int64_t[:, ::1] to_left,
):
    """Give visits their streams, and note what slots then hold: see ``_nested.InVisits``. Returns columns of a plan."""
    cdef sl_seats s
    cdef cnp.npy_intp n_drawn = drawn.shape[0], n = lengths.shape[0], i
    cdef int64_t n_there = 0, n_fresh = 0, n_slots = holder.shape[1]
    out = empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_INT64), empty(n, cnp.NPY_BOOL)
    cdef int64_t[::1] streams = out[0], out_lengths = out[1], out_seats = out[2]
    cdef uint8_t[::1] out_fresh = out[3].view("u1")
    if not n_drawn or last.shape[0] != n_drawn or left.shape[0] != n_drawn or fresh.shape[0] != n or last[n_drawn - 1] != n - 1:
        raise ValueError("visits and slots do not fit each other")
    s.n_passes, s.n_slots = seats.shape[0], n_slots
    if fresh_passes.shape[0] != s.n_passes or last_passes.shape[0] != s.n_passes or drawn[n_drawn - 1] >= s.n_passes * n_slots:
        raise ValueError("slots and passes do not fit each other")
    if to_left.shape[0] != holder.shape[0] or to_left.shape[1] != n_slots:
        raise ValueError("seats hold other slots than they have left")
    for i in range(s.n_passes):
        if not 0 <= seats[i] < holder.shape[0]:
            raise ValueError(f"seat {seats[i]} is none of {holder.shape[0]}")
    for i in range(n):
        n_fresh += fresh[i]
    if n_fresh != new_streams.shape[0]:
        raise ValueError(f"{new_streams.shape[0]} streams are drawn for {n_fresh} visits")
    s.seats, s.fresh, s.last, s.holder, s.left = &seats[0], &fresh_passes[0], &last_passes[0], &holder[0, 0], &to_left[0, 0]
    with nogil:
        n_there = sl_settle(
            &s, n_drawn, &drawn[0], &last[0], &left[0], &lengths[0], &fresh[0], &new_streams[0] if n_fresh else NULL,
            &streams[0], &out_lengths[0], &out_seats[0], &out_fresh[0])
    return [column[:n_there] for column in out]


def arrow_columns(schema, array):
    """Return the names of the columns of a batch of Arrow, where their values lie, and of which kind, as letters of Arrow.

    ``schema, array`` are what ``__arrow_c_array__`` gives. The letter is 0 where values are null, or not of 4 or 8 bytes each.
    """
    cdef sl_arrow_schema *of_kinds = <sl_arrow_schema *>PyCapsule_GetPointer(schema, "arrow_schema")
    cdef sl_arrow_array *of_values = <sl_arrow_array *>PyCapsule_GetPointer(array, "arrow_array")
    cdef cnp.npy_intp n = of_values.n_children
    cdef cnp.ndarray addresses = cnp.PyArray_SimpleNew(1, &n, cnp.NPY_UINTP)
    cdef uintptr_t *found = <uintptr_t *>cnp.PyArray_DATA(addresses)
    cdef bytes kinds = PyBytes_FromStringAndSize(NULL, n)
    cdef list names = []
    cdef Py_ssize_t i
    for i in range(n):
        PyBytes_AS_STRING(kinds)[i] = sl_arrow_column(
            of_kinds.children[i], of_values.children[i], of_values.offset, &found[i])
        names.append("" if of_kinds.children[i].name == NULL else of_kinds.children[i].name.decode())
    return names, addresses, kinds


def addresses(arrays, dtype, shape):
    """Return where arrays begin; None if one is not of rows of this dtype and shape, one after another, or has none."""
    cdef cnp.npy_intp n = len(arrays)
    cdef cnp.ndarray found = cnp.PyArray_SimpleNew(1, &n, cnp.NPY_INT64)
    cdef Py_ssize_t i = 0
    cdef cnp.ndarray array
    cdef int n_dims = 1 + len(shape), j
    for values in arrays:
        if not cnp.PyArray_CheckExact(values):
            return None
        array = values
        if cnp.PyArray_NDIM(array) != n_dims or not cnp.PyArray_IS_C_CONTIGUOUS(array) or not cnp.PyArray_ISALIGNED(array):
            return None
        if not cnp.PyArray_SIZE(array) or <object>cnp.PyArray_DESCR(array) is not dtype:
            return None
        for j in range(1, n_dims):
            if cnp.PyArray_DIM(array, j) != shape[j - 1]:
                return None
        (<int64_t *>cnp.PyArray_DATA(found))[i] = <int64_t><uintptr_t>cnp.PyArray_DATA(array)
        i += 1
    return found
