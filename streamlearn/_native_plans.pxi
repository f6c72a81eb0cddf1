# The loops of ``_visits.h`` and ``_within.h``: a part of ``_native.pyx``, which includes it.

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
    ctypedef struct sl_distinct:
        int64_t n_slots
        int64_t *holder
        const int64_t *capped
        int64_t n_capped
        const int64_t *drawn
        int64_t n_drawn
        const int64_t *slots
        int64_t n, at
        int64_t *streams
        int64_t tries, most_tries
    int SL_DRAWS, SL_CHOICE
    int sl_assign(sl_distinct *d)

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


def assign(
    int64_t[::1] holder, const int64_t[::1] capped, const int64_t[::1] slots, int64_t most_tries, draw, choose
):
    """Give visits that begin in ``slots``, in the order of time, streams that no other slot holds: see ``_stochastic.SingleActive``.

    ``holder`` is changed; ``draw`` returns other streams to try, and ``choose`` one that is not held. Returns the streams.
    """
    cdef sl_distinct d
    cdef int lack
    cdef cnp.npy_intp n = slots.shape[0], i
    cdef const int64_t[::1] drawn
    streams = empty(n, cnp.NPY_INT64)
    cdef int64_t[::1] out = streams
    for i in range(n):
        if not 0 <= slots[i] < holder.shape[0]:
            raise ValueError(f"slot {slots[i]} is none of {holder.shape[0]}")
    if not n:
        return streams
    d.n_slots, d.holder, d.n_capped = holder.shape[0], &holder[0], capped.shape[0]
    d.capped = &capped[0] if d.n_capped else NULL
    d.drawn, d.n_drawn, d.tries, d.most_tries = NULL, 0, 0, most_tries
    d.slots, d.n, d.at, d.streams = &slots[0], n, 0, &out[0]
    while True:
        with nogil:
            lack = sl_assign(&d)
        if lack == SL_DRAWS:
            drawn = draw()
            d.drawn, d.n_drawn = &drawn[0], drawn.shape[0]
        elif lack == SL_CHOICE:
            out[d.at] = holder[slots[d.at]] = choose()
            d.at += 1
            d.tries = 0
        else:
            return streams


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


@cython.cdivision(True)
def under_way(
    const int64_t[::1] drawn, const int64_t[::1] seats, const uint8_t[::1] fresh_passes, const int64_t[:, ::1] left
):
    """Return what the visits under way in drawn slots, ``pass * n_slots + slot``, have left: see ``_nested.InVisits``."""
    cdef int64_t n_slots = left.shape[1], i, n_pass, n = drawn.shape[0]
    out = empty(n, cnp.NPY_INT64)
    cdef int64_t[::1] to_out = out
    if fresh_passes.shape[0] != seats.shape[0] or n_slots < 1:
        raise ValueError(f"{fresh_passes.shape[0]} marks are not those of {seats.shape[0]} passes of {n_slots} slots")
    for i in range(n):
        n_pass = drawn[i] // n_slots
        if not 0 <= n_pass < seats.shape[0] or not 0 <= seats[n_pass] < left.shape[0]:
            raise ValueError(f"slot {drawn[i]} is none of {seats.shape[0]} passes")
        to_out[i] = 0 if fresh_passes[n_pass] else left[seats[n_pass], drawn[i] - n_pass * n_slots]
    return out


@cython.cdivision(True)
def choose(
    const int64_t[::1] drawn, int64_t n_slots, const int64_t[::1] slots, const uint8_t[::1] fresh, const int64_t[::1] muxes,
    const int64_t[::1] first, const int64_t[::1] n_streams, const double[::1] numbers,
):
    """Return a stream for each fresh visit, of the mux of its pass, by numbers in [0, 1): see ``_nested.Odds.draw``."""
    cdef int64_t i, slot, mux, at = 0, n = numbers.shape[0]
    out = empty(n, cnp.NPY_INT64)
    cdef int64_t[::1] to_out = out
    if slots.shape[0] != fresh.shape[0] or first.shape[0] != n_streams.shape[0] or n_slots < 1:
        raise ValueError("visits and muxes do not fit each other")
    for i in range(fresh.shape[0]):
        if not fresh[i]:
            continue
        slot = slots[i]
        if at == n or not 0 <= slot < drawn.shape[0] or not 0 <= drawn[slot] // n_slots < muxes.shape[0]:
            raise ValueError(f"visit {i} has no number of {n}, or is in none of {drawn.shape[0]} slots")
        mux = muxes[drawn[slot] // n_slots]
        if not 0 <= mux < first.shape[0]:
            raise ValueError(f"mux {mux} is none of {first.shape[0]}")
        to_out[at] = first[mux] + <int64_t>(numbers[at] * n_streams[mux])
        at += 1
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
