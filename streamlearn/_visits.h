/* Streams that wait (see _waiting.py), and plans of visits that end (see _plan.py).
 *
 * As _kernels.h, they know nothing of Python. Whoever calls them has checked that slots hold streams that are there.
 */
#include <stdint.h>

/* Of each number, in [0, 1), one more than the first of the chances, which rise to 1, that is larger; `guide` has those of
 * multiples of 1 / n_guides. */
static void sl_invert(
    const double *chances, const int64_t *guide, int64_t n_guides, const double *numbers, int64_t n, int64_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = guide[(int64_t)(numbers[i] * (double)n_guides)];
        while (chances[at] <= numbers[i])
            at++;
        out[i] = at + 1;
    }
}

/* A heap: the smallest key comes first, of equal ones the lower stream. */
typedef struct {
    double *keys;
    int64_t *streams;
    int64_t n;
} sl_waiting;

static inline int sl_comes_first(double key, int64_t stream, double other_key, int64_t other)
{
    return key < other_key || (key == other_key && stream < other);
}

/* Puts what belongs at a place, or below, there. */
static void sl_sink(sl_waiting *w, int64_t at, double key, int64_t stream)
{
    for (int64_t child; (child = 2 * at + 1) < w->n; at = child) {
        if (child + 1 < w->n && sl_comes_first(w->keys[child + 1], w->streams[child + 1], w->keys[child], w->streams[child]))
            child++;
        if (!sl_comes_first(w->keys[child], w->streams[child], key, stream))
            break;
        w->keys[at] = w->keys[child];
        w->streams[at] = w->streams[child];
    }
    w->keys[at] = key;
    w->streams[at] = stream;
}

static void sl_push(sl_waiting *w, double key, int64_t stream)
{
    int64_t at = w->n++;
    for (int64_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!sl_comes_first(key, stream, w->keys[parent], w->streams[parent]))
            break;
        w->keys[at] = w->keys[parent];
        w->streams[at] = w->streams[parent];
    }
    w->keys[at] = key;
    w->streams[at] = stream;
}

/* Takes the first one out, of which there must be one. */
static void sl_pop(sl_waiting *w, double *key, int64_t *stream)
{
    *key = w->keys[0];
    *stream = w->streams[0];
    w->n--;
    if (w->n)
        sl_sink(w, 0, w->keys[w->n], w->streams[w->n]);
}

/* Pushes one, then takes the first one out, in its place. */
static void sl_swap(sl_waiting *w, double *key, int64_t *stream)
{
    if (w->n && sl_comes_first(w->keys[0], w->streams[0], *key, *stream)) {
        const double new_key = *key;
        const int64_t new_stream = *stream;
        *key = w->keys[0];
        *stream = w->streams[0];
        sl_sink(w, 0, new_key, new_stream);
    }
}

/* What a plan of visits that end takes and changes. */
typedef struct {
    sl_waiting *waiting;
    int64_t again;            /* whether streams wait again after a visit */
    double now;               /* the key that was taken last */
    int64_t *remaining;       /* of each stream; its own visit under way included */
    const double *weights;
    const int64_t *lengths;   /* of visits, drawn before, and used from the end; likewise gaps between keys */
    int64_t n_lengths;
    const double *gaps;
    int64_t n_gaps;
    int64_t n_slots;
    const int64_t *order, *stops; /* times of draws, slot by slot, and where each slot's end */
    int64_t *holder, *left, *planned, *used;
    int64_t *due, n_due;          /* slots in which a visit ends, as a heap by its last time */
    int64_t *run_slots, *run_streams, *run_lengths, n_runs; /* what was given, in the order in which visits end */
} sl_visits;

static inline int64_t sl_last_time(const sl_visits *v, int64_t slot)
{
    const int64_t start = slot ? v->stops[slot - 1] : 0;
    return v->order[start + v->used[slot] + v->left[slot] - 1];
}

static inline int sl_ends_in_plan(const sl_visits *v, int64_t slot)
{
    return v->used[slot] + v->left[slot] <= v->stops[slot] - (slot ? v->stops[slot - 1] : 0);
}

static void sl_sink_due(sl_visits *v, int64_t at, int64_t slot)
{
    const int64_t time = sl_last_time(v, slot);
    for (int64_t child; (child = 2 * at + 1) < v->n_due; at = child) {
        if (child + 1 < v->n_due && sl_last_time(v, v->due[child + 1]) < sl_last_time(v, v->due[child]))
            child++;
        if (time < sl_last_time(v, v->due[child]))
            break;
        v->due[at] = v->due[child];
    }
    v->due[at] = slot;
}

static void sl_give(sl_visits *v, int64_t slot, int64_t n)
{
    v->run_slots[v->n_runs] = slot;
    v->run_streams[v->n_runs] = v->holder[slot];
    v->run_lengths[v->n_runs] = n;
    v->n_runs++;
    v->used[slot] += n;
    v->left[slot] -= n;
}

static void sl_begin_visits(sl_visits *v)
{
    v->n_due = 0;
    for (int64_t slot = 0; slot < v->n_slots; slot++)
        if (v->holder[slot] >= 0 && sl_ends_in_plan(v, slot))
            v->due[v->n_due++] = slot;
    for (int64_t at = v->n_due / 2; at-- > 0;)
        sl_sink_due(v, at, v->due[at]);
}

/* Ends visits, in the order of time, and begins the next ones. Returns what it lacks to go on: SL_GAPS, SL_LENGTHS, or 0; or
 * SL_BROKEN: a visit would have no items. */
enum { SL_GAPS = 1, SL_LENGTHS = 2, SL_BROKEN = 3 };

static int sl_end_visits(sl_visits *v)
{
    while (v->n_due) {
        const int64_t slot = v->due[0];
        int64_t stream = v->holder[slot];
        const int64_t rest = v->again ? v->remaining[stream] - v->planned[slot] : 0;
        if (rest < 0)
            return SL_BROKEN;
        if (rest && !v->n_gaps)
            return SL_GAPS;
        if ((rest || v->waiting->n) && !v->n_lengths)
            return SL_LENGTHS;
        sl_give(v, slot, v->left[slot]);
        if (v->again)
            v->remaining[stream] = rest;
        if (!rest && !v->waiting->n) {
            v->holder[slot] = -2 - stream; /* the slot dies */
            v->n_due--;
            if (v->n_due)
                sl_sink_due(v, 0, v->due[v->n_due]);
            continue;
        }
        if (rest) {
            v->now += v->gaps[--v->n_gaps] / v->weights[stream];
            sl_swap(v->waiting, &v->now, &stream);
        } else {
            sl_pop(v->waiting, &v->now, &stream);
        }
        const int64_t length = v->lengths[--v->n_lengths], most = v->remaining[stream];
        v->holder[slot] = stream;
        v->planned[slot] = v->left[slot] = length < most ? length : most;
        if (v->left[slot] < 1)
            return SL_BROKEN;
        if (sl_ends_in_plan(v, slot)) {
            sl_sink_due(v, 0, slot);
        } else {
            v->n_due--;
            if (v->n_due)
                sl_sink_due(v, 0, v->due[v->n_due]);
        }
    }
    return 0;
}

/* Notes what visits that go on give. */
static void sl_go_on(sl_visits *v)
{
    for (int64_t slot = 0; slot < v->n_slots; slot++) {
        const int64_t rest = v->stops[slot] - (slot ? v->stops[slot - 1] : 0) - v->used[slot];
        if (v->holder[slot] >= 0 && rest > 0)
            sl_give(v, slot, rest);
    }
}

/* Visits that begin in slots, which are to hold distinct streams. */
typedef struct {
    int64_t n_slots, *holder;
    const int64_t *capped; /* streams that come first, where they are not held */
    int64_t n_capped;
    const int64_t *drawn;  /* others, used from the end */
    int64_t n_drawn;
    const int64_t *slots;  /* in which visits begin, in the order of time */
    int64_t n, at, *streams;
    int64_t tries, most_tries;
} sl_distinct;

static inline int sl_is_held(const sl_distinct *d, int64_t stream)
{
    int is_held = 0;
    for (int64_t slot = 0; slot < d->n_slots; slot++)
        is_held |= d->holder[slot] == stream;
    return is_held;
}

/* Gives visits their streams. Returns what it lacks to go on: SL_DRAWS; SL_CHOICE, of one more where as many draws as are tried
 * were held; or 0. */
enum { SL_DRAWS = 4, SL_CHOICE = 5 };

static int sl_assign(sl_distinct *d)
{
    for (; d->at < d->n; d->at++, d->tries = 0) {
        int64_t stream = -1;
        d->holder[d->slots[d->at]] = -1;
        for (int64_t i = 0; i < d->n_capped && stream < 0; i++)
            if (!sl_is_held(d, d->capped[i]))
                stream = d->capped[i];
        for (; stream < 0; d->tries++) {
            if (d->tries == d->most_tries)
                return SL_CHOICE;
            if (!d->n_drawn)
                return SL_DRAWS;
            if (!sl_is_held(d, d->drawn[--d->n_drawn]))
                stream = d->drawn[d->n_drawn];
        }
        d->holder[d->slots[d->at]] = d->streams[d->at] = stream;
    }
    return 0;
}
