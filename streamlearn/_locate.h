/* Where samples lie: shuffled orders that are computed, and the cursors of streams.
 *
 * As _kernels.h, they know nothing of Python. Whoever calls them has checked that streams are there.
 */
#include "_kernels.h"

#define SL_SORTED_SIZE 64 /* as in _permute.py */
#define SL_AT_ONCE 64     /* elements that are found together, as vectors */

/* -- permutations (see _permute.py, whose results these are) ------------------------------------------------------- */

static inline uint32_t sl_round(uint32_t half, uint32_t key, uint32_t constant)
{
    uint32_t h = half * 0x9E3779B1u;
    h ^= key;
    h *= constant;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return h;
}

#define SL_TURN(first, second) \
    left += ((sl_round(right, key, first) >> 16) * a) >> 16; \
    left = left - a < left ? left - a : left; /* modulo a: below a, the difference wraps to a large number */ \
    right = (right + (sl_round(left, key, second) >> shift)) & mask;

static inline uint32_t sl_feistel(uint32_t x, uint32_t a, uint32_t k, uint32_t key)
{
    const uint32_t mask = (1u << k) - 1u;
    const uint32_t shift = 32u - k;
    uint32_t left = x >> k, right = x & mask;
    SL_TURN(0x7FEB352Du, 0x85EBCA6Bu)
    SL_TURN(0xC2B2AE35u, 0x27D4EB2Fu)
    SL_TURN(0xCC9E2D51u, 0x1B873593u)
    SL_TURN(0xE6546B65u, 0x165667B1u)
    return (left << k) | right;
}

/* As `_random.mix32`: one to one. */
static inline uint32_t sl_mix32(uint32_t h)
{
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return h ^ h >> 16;
}

#define SL_LANES 8 /* hashes that are compared at once */

/* How many of n hashes are less than each of some. */
static inline void sl_rank(const int32_t *hashes, int32_t n, const int32_t *some, int32_t *ranks)
{
#if defined(__GNUC__) /* left to itself, the compiler looks for vectors in the wrong one of two loops */
    typedef int32_t lanes __attribute__((vector_size(SL_LANES * sizeof(int32_t))));
    const lanes zero = {0};
    lanes own, counts = zero;
    memcpy(&own, some, sizeof own);
    for (int32_t j = 0; j < n; j++)
        counts -= own > zero + hashes[j]; /* -1 where it is */
    memcpy(ranks, &counts, sizeof counts);
#else
    for (int32_t i = 0; i < SL_LANES; i++) {
        ranks[i] = 0;
        for (int32_t j = 0; j < n; j++)
            ranks[i] += hashes[j] < some[i];
    }
#endif
}

/* All elements of a small permutation: the ranks of their hashes, which all differ, are their places. Ranks are counted, not
 * sorted: no step depends on what the hashes are. */
SL_CLONES static void sl_sort_small(uint32_t key, uint32_t size, uint8_t *elements)
{
    const uint32_t name = sl_mix32(key + size * 0x85EBCA6Bu);
    const int32_t n = (int32_t)size;
    int32_t hashes[SL_SORTED_SIZE], ranks[SL_SORTED_SIZE];
    for (int32_t at = 0; at < n; at += SL_LANES)
        for (int32_t i = at; i < at + SL_LANES; i++) /* the order of unsigned numbers for signed ones */
            hashes[i] = (int32_t)(sl_mix32(name ^ (uint32_t)(i + 1) * 0x9E3779B1u) ^ 0x80000000u);
    for (int32_t at = 0; at < n; at += SL_LANES)
        sl_rank(hashes, n, hashes + at, ranks + at);
    for (int32_t i = 0; i < n; i++)
        elements[ranks[i]] = (uint8_t)i;
}

/* Elements of permutations, at most SL_AT_ONCE, each of one of its own: runs may be short. */
typedef struct {
    int64_t n;
    uint32_t place[SL_AT_ONCE], size[SL_AT_ONCE], a[SL_AT_ONCE], k[SL_AT_ONCE], key[SL_AT_ONCE], found[SL_AT_ONCE];
} sl_elements;

SL_CLONES static void sl_walk(sl_elements *e)
{
    for (int64_t i = 0; i < SL_AT_ONCE; i++) /* those that are not there are cheaper than a loop of unknown length */
        e->found[i] = sl_feistel(e->place[i], e->a[i], e->k[i], e->key[i]);
    for (int64_t i = 0; i < e->n; i++)
        while (e->found[i] >= e->size[i])
            e->found[i] = sl_feistel(e->found[i], e->a[i], e->k[i], e->key[i]);
}

#define SL_LONG 8 /* from so many on, elements of one permutation are worth a walk of their own */

/* A permutation: how places of it become elements. */
typedef struct {
    uint32_t size, a, k, key;
    int is_shuffled, is_small;
} sl_permutation;

static sl_permutation sl_named(int64_t size, uint32_t key, int is_shuffled)
{
    sl_permutation p;
    uint32_t bits = 0;
    for (uint32_t n = (uint32_t)size; n; n >>= 1)
        bits++;
    p.size = (uint32_t)size;
    p.k = bits / 2; /* 2**k is the root, to a factor of two */
    p.a = (p.size + (1u << p.k) - 1u) >> p.k;
    p.key = key;
    p.is_shuffled = is_shuffled;
    p.is_small = size <= SL_SORTED_SIZE;
    return p;
}

/* Elements of one permutation that follow each other, at most SL_AT_ONCE. */
SL_CLONES static void sl_walk_on(const sl_permutation *p, uint32_t place, int64_t n, uint32_t *found)
{
    const uint32_t size = p->size, a = p->a, k = p->k, key = p->key;
    for (int64_t at = 0; at < n; at += SL_LANES)
        for (int64_t i = at; i < at + SL_LANES; i++)
            found[i] = sl_feistel(place + (uint32_t)i, a, k, key);
    for (int64_t i = 0; i < n; i++)
        while (found[i] >= size)
            found[i] = sl_feistel(found[i], a, k, key);
}

#define SL_TABLES 3 /* at most */

/* What is known of a stream, in one line of a cache: in a large pool none of it is at hand. */
typedef struct {
    int64_t pass;               /* where its cursor stands, */
    uint32_t place;             /* in the pass, */
    uint32_t size;              /* of so many samples, */
    int64_t starts[SL_TABLES];  /* of which the first is there in each table */
    uint64_t order;             /* of that pass, once it was needed, if they are SL_PACKED at most; else 0 */
    uint32_t key;
    uint32_t block;             /* the last one that has samples of it, */
    uint8_t is_shuffled;
    uint8_t has_ended;          /* whether a pass has ended in that block, */
    uint8_t is_torn;            /* and whether its samples there are given in time */
    uint8_t unused[5];
} sl_stream;

/* Finds elements and writes the rows that they are in each of some tables, `start + step * element`. */
typedef struct {
    sl_elements e;
    int64_t n_tables;
    const int64_t *steps;
    int64_t *out; /* of shape (n_tables, n_out) */
    int64_t n_out;
    const sl_stream *of[SL_AT_ONCE];
    int64_t due[SL_AT_ONCE]; /* where a row is written */
    uint8_t small[SL_SORTED_SIZE]; /* the elements of a small permutation, which this is */
    uint32_t small_size, small_key;
} sl_finder;

static inline void sl_write(sl_finder *f, const sl_stream *of, int64_t due, int64_t element)
{
    for (int64_t t = 0; t < f->n_tables; t++)
        f->out[t * f->n_out + due] = of->starts[t] + f->steps[t] * element;
}

static void sl_flush(sl_finder *f)
{
    sl_walk(&f->e);
    for (int64_t i = 0; i < f->e.n; i++)
        sl_write(f, f->of[i], f->due[i], (int64_t)f->e.found[i]);
    f->e.n = 0;
}

static inline void sl_find(sl_finder *f, const sl_permutation *p, int64_t place, const sl_stream *of, int64_t due)
{
    if (!p->is_shuffled) {
        sl_write(f, of, due, place);
    } else if (p->is_small) {
        if (f->small_size != p->size || f->small_key != p->key) {
            sl_sort_small(p->key, p->size, f->small);
            f->small_size = p->size;
            f->small_key = p->key;
        }
        sl_write(f, of, due, (int64_t)f->small[place]);
    } else {
        const int64_t i = f->e.n++;
        f->e.place[i] = (uint32_t)place;
        f->e.size[i] = p->size;
        f->e.a[i] = p->a;
        f->e.k[i] = p->k;
        f->e.key[i] = p->key;
        f->of[i] = of;
        f->due[i] = due;
        if (f->e.n == SL_AT_ONCE)
            sl_flush(f);
    }
}

static inline void sl_find_on(
    sl_finder *f, const sl_permutation *p, int64_t place, int64_t n, const sl_stream *of, const int64_t *due)
{
    uint32_t found[SL_AT_ONCE];
    for (int64_t at = 0; at < n; at += SL_AT_ONCE) {
        const int64_t m = n - at < SL_AT_ONCE ? n - at : SL_AT_ONCE;
        sl_walk_on(p, (uint32_t)(place + at), m, found);
        for (int64_t i = 0; i < m; i++)
            sl_write(f, of, due[at + i], (int64_t)found[i]);
    }
}

static void sl_begin(sl_finder *f, int64_t n_tables, const int64_t *steps, int64_t *out, int64_t n_out)
{
    f->e.n = 0;
    for (int64_t i = 0; i < SL_AT_ONCE; i++) { /* so that what is not there can be walked, too */
        f->e.place[i] = f->e.a[i] = f->e.key[i] = 0;
        f->e.k[i] = 1;
    }
    f->n_tables = n_tables;
    f->steps = steps;
    f->out = out;
    f->n_out = n_out;
    f->small_size = 0;
}

/* The first n elements of a permutation. */
static void sl_permute(int64_t n, int64_t size, uint32_t key, int64_t *out)
{
    const sl_permutation p = sl_named(size, key, 1);
    if (p.is_small) {
        uint8_t small[SL_SORTED_SIZE];
        sl_sort_small(key, p.size, small);
        for (int64_t i = 0; i < n; i++)
            out[i] = small[i];
        return;
    }
    for (int64_t at = 0; at < n; at += SL_AT_ONCE) {
        const int64_t m = n - at < SL_AT_ONCE ? n - at : SL_AT_ONCE;
        uint32_t found[SL_AT_ONCE];
        sl_walk_on(&p, (uint32_t)at, m, found);
        for (int64_t i = 0; i < m; i++)
            out[at + i] = (int64_t)found[i];
    }
}

/* -- cursors (see _cursors.py) ------------------------------------------------------------------------------------- */

static inline sl_permutation sl_of_pass(const sl_stream *of, int64_t number)
{
    return sl_named(of->size, sl_mix32(of->key ^ (uint32_t)number * 0x9E3779B1u), of->is_shuffled);
}

#define SL_PACKED 15 /* elements of a permutation, 4 bits of each, leave some to tell that it is there */

/* The order of the pass under way of a short stream: few of its samples come in one block, and it is not sorted for each of them. */
static inline uint64_t sl_packed(sl_stream *of)
{
    if (!of->order) {
        uint8_t small[SL_SORTED_SIZE];
        uint64_t order = (uint64_t)1 << 63;
        sl_sort_small(sl_of_pass(of, of->pass).key, of->size, small);
        for (uint32_t i = 0; i < of->size; i++)
            order |= (uint64_t)small[i] << 4 * i;
        of->order = order;
    }
    return of->order;
}

static inline void sl_end_pass(sl_stream *of)
{
    of->pass++;
    of->place = 0;
    of->order = 0;
    of->has_ended = 1;
}

/* Writes the rows of the next samples of a stream, and moves its cursor. */
static inline void sl_move(sl_finder *f, sl_stream *of, int64_t n, const int64_t *due)
{
    const int64_t size = of->size;
    if (of->is_shuffled && size <= SL_PACKED && of->place + n <= size) {
        uint64_t packed = sl_packed(of) >> 4 * of->place;
        for (int64_t i = 0; i < n; i++, packed >>= 4)
            sl_write(f, of, due[i], (int64_t)(packed & 15));
        of->place += (uint32_t)n;
        n = 0;
    }
    while (n) {
        const int64_t place = of->place, rest = size - place, m = n < rest ? n : rest;
        const sl_permutation p = sl_of_pass(of, of->pass);
        if (m >= SL_LONG && p.is_shuffled && !p.is_small)
            sl_find_on(f, &p, place, m, of, due);
        else
            for (int64_t i = 0; i < m; i++)
                sl_find(f, &p, place + i, of, due[i]);
        due += m;
        n -= m;
        of->place += (uint32_t)m;
        if (n)
            sl_end_pass(of);
    }
    if (of->place == size)
        sl_end_pass(of);
}

#define SL_RUNS_AHEAD 16
#define SL_BIT(bits, i) ((bits)[(i) >> 3] >> ((i) & 7) & 1)
#define SL_SET_BIT(bits, i) ((bits)[(i) >> 3] |= (uint8_t)(1 << ((i) & 7)))

/* Puts streams back where they stood before a block. */
static void sl_take_back(
    sl_stream *pool, int64_t n, const int64_t *present, const int64_t *places, const int64_t *passes, int all)
{
    for (int64_t i = 0; i < n; i++) {
        sl_stream *of = pool + present[i];
        if (!all && !of->is_torn)
            continue;
        if (of->pass != passes[i])
            of->order = 0;
        of->place = (uint32_t)places[i];
        of->pass = passes[i];
    }
}

/* Moves cursors by the runs of samples of a block, which has a number that no stream knows. Returns the number of streams that
 * moved, which are written to `present`, sorted by their first run, with the places and passes where they stood; -1 if one has
 * no samples.
 *
 * The samples of a stream are given out run by run; those of one that has no order of its own, or passes into its next pass
 * meanwhile, in time. Which these are is found out as they are given: then they are given again. `streams_marked` and `times_marked`
 * are a bit for each stream and each sample, all zero.
 */
static int64_t sl_locate(
    int64_t n_runs, const int64_t *streams, const int64_t *lengths, const int64_t *order, int64_t n, sl_stream *pool,
    uint32_t block, int64_t n_tables, const int64_t *steps, int64_t *out, int32_t *who, int64_t *present, int64_t *places,
    int64_t *passes, uint8_t *streams_marked, uint8_t *times_marked)
{
    int64_t n_present = 0, any_torn = 0;
    sl_finder f;
    const int64_t *due = order;
    sl_begin(&f, n_tables, steps, out, n);
    for (int64_t run = 0; run < n_runs; run++) {
        sl_stream *of = pool + streams[run];
        const int64_t m = lengths[run];
        if (run + SL_RUNS_AHEAD < n_runs)
            SL_PREFETCH_TO_WRITE(pool + streams[run + SL_RUNS_AHEAD]);
        if (!m)
            continue;
        for (int64_t i = 0; i < m; i++)
            who[due[i]] = (int32_t)streams[run];
        if (of->block != block) {
            if (!of->size) {
                sl_take_back(pool, n_present, present, places, passes, 1);
                return -1;
            }
            of->block = block;
            of->has_ended = of->is_torn = 0;
            places[n_present] = of->place;
            passes[n_present] = of->pass;
            present[n_present++] = streams[run];
        } else if (!of->is_torn && (!of->is_shuffled || of->has_ended || of->place + m > (int64_t)of->size)) {
            of->is_torn = 1;
            any_torn = 1;
            SL_SET_BIT(streams_marked, streams[run]);
        }
        if (!of->is_torn)
            sl_move(&f, of, m, due);
        due += m;
    }
    sl_flush(&f);
    if (!any_torn)
        return n_present;
    sl_take_back(pool, n_present, present, places, passes, 0);
    due = order;
    for (int64_t run = 0; run < n_runs; run++, due += lengths[run - 1])
        if (SL_BIT(streams_marked, streams[run]))
            for (int64_t i = 0; i < lengths[run]; i++)
                SL_SET_BIT(times_marked, due[i]);
    for (int64_t time = 0; time < n; time++)
        if (SL_BIT(times_marked, time))
            sl_move(&f, pool + who[time], 1, &time);
    sl_flush(&f);
    return n_present;
}

/* -- slots --------------------------------------------------------------------------------------------------------- */

/* Sorts draws by their slot, those of a slot as they come; `ends` gets where each slot ends among them. */
static void sl_sort_slots(const uint16_t *slots, int64_t n, int64_t n_slots, int64_t *order, int64_t *ends)
{
    int64_t sum = 0;
    memset(ends, 0, (size_t)n_slots * sizeof *ends);
    for (int64_t i = 0; i < n; i++)
        ends[slots[i]]++;
    for (int64_t slot = 0; slot < n_slots; slot++) {
        const int64_t count = ends[slot];
        ends[slot] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < n; i++)
        order[ends[slots[i]]++] = i;
}

/* -- rows in time -------------------------------------------------------------------------------------------------- */

/* Of each run `start, start + step, ...`, written where `order` says. */
static void sl_count(
    int64_t n_runs, const int64_t *starts, const int64_t *lengths, int64_t step, const int64_t *order, int64_t *out)
{
    for (int64_t run = 0; run < n_runs; run++) {
        const int64_t n = lengths[run];
        int64_t value = starts[run];
        for (int64_t i = 0; i < n; i++, value += step)
            out[order[i]] = value;
        order += n;
    }
}
