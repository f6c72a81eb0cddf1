# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The loops of ``_kernels.h`` and ``_locate.h``, and those of plans, for arrays; other threads use the interpreter meanwhile."""

cimport cython
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

VERSION = 8  # of what functions take and give: _compiled.py leaves those of another one alone

cdef extern from "_locate.h" nogil:
    int SL_TABLES
    ctypedef struct sl_stream:
        pass
    int64_t sl_locate(
        int64_t n_runs, const int64_t *streams, const int64_t *lengths, const int64_t *order, int64_t n, sl_stream *pool,
        uint32_t block, int64_t n_tables, const int64_t *steps, int64_t *out, int32_t *who, int64_t *present, int64_t *places,
        int64_t *passes, uint8_t *streams_marked, uint8_t *times_marked)
    void sl_permute(int64_t n, int64_t size, uint32_t key, int64_t *out)
    void sl_sort_slots(const uint16_t *slots, int64_t n, int64_t n_slots, int64_t *order, int64_t *ends)
    void sl_count(
        int64_t n_runs, const int64_t *starts, const int64_t *lengths, int64_t step, const int64_t *order, int64_t *out)

cdef extern from "_kernels.h" nogil:
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

cdef int64_t LITTLE = 2**16  # bytes that are copied faster than a thread gives the interpreter away and takes it again
cdef uint64_t FIRST = 0x9E3779B97F4A7C15  # of what is mixed


def locate(
    const int64_t[::1] streams, const int64_t[::1] lengths, const int64_t[::1] order, uint8_t[::1] pool, uint32_t block,
    const int64_t[::1] steps, const int64_t[::1] lookup, int64_t[:, ::1] rows, int32_t[::1] who, int64_t[:, ::1] moved,
    const int64_t[:, ::1] columns, double[::1] squares,
):
    """Write where samples lie to ``rows``, their streams to ``who``, and perhaps the samples themselves.

    ``pool`` is what is known of streams, as ``sl_stream`` has it, and is moved on; ``block`` is a number above those of earlier
    calls. ``moved`` gets the streams that moved, and the places and passes where they stood. Each of ``columns`` is which of
    ``rows`` tells where its values lie, an address and the bytes from one row to the next, the bytes of a value, the address where
    values go, in time, and of what size (4 or 8) floats are whose ``squares`` are to be added up; 0: of none. Returns how many
    streams moved. One call does it all: between two, a thread would have to wait for the interpreter.
    """
    cdef sl_stream *of = <sl_stream *>&pool[0] if pool.shape[0] else NULL
    cdef int64_t n_streams = pool.shape[0] // <int64_t>sizeof(sl_stream), n_moved = 0, n = 0, i
    cdef uint8_t[::1] marks
    # what follows trusts them, and would read and write elsewhere
    for i in range(lengths.shape[0]):
        n += lengths[i]
        if lengths[i] and (lengths[i] < 0 or not 0 <= streams[i] < n_streams):
            raise ValueError(f"run {i} has {lengths[i]} samples of stream {streams[i]}")
    if n != order.shape[0] or n >= 2**31:
        raise ValueError(f"runs of {n} samples have {order.shape[0]} places in time")
    if steps.shape[0] > SL_TABLES:
        raise ValueError(f"{steps.shape[0]} tables are more than {SL_TABLES}")
    if not n:
        return 0
    marks = zeros(n_streams // 8 + n // 8 + 2, cnp.NPY_UINT8)
    with nogil:
        n_moved = sl_locate(
            streams.shape[0], &streams[0], &lengths[0], &order[0], n, of, block, steps.shape[0], &steps[0],
            &rows[0, 0], &who[0], &moved[0, 0], &moved[1, 0], &moved[2, 0], &marks[0], &marks[n_streams // 8 + 1])
    if n_moved < 0:
        raise ValueError("a run has samples of a stream without any")
    with nogil:
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


cdef empty(cnp.npy_intp n, int kind):
    return cnp.PyArray_SimpleNew(1, &n, kind)


cdef zeros(cnp.npy_intp n, int kind):
    return cnp.PyArray_ZEROS(1, &n, kind, 0)


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


include "_native_plans.pxi"
