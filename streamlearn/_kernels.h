/* Loops over samples, which NumPy could only do in many passes, each of which asks for the interpreter.
 *
 * They know nothing of Python. Whoever calls them has checked shapes and kinds, and that every index is that of a row.
 */
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
/* Wheels are built for any processor: the loop is compiled twice, and the first call takes the one that fits. */
#define SL_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SL_CLONES
#endif

#if defined(__GNUC__)
#define SL_PREFETCH(address) __builtin_prefetch(address)
#define SL_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#else
#define SL_PREFETCH(address) ((void)(address))
#define SL_PREFETCH_TO_WRITE(address) ((void)(address))
#endif

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

static inline uint32_t sl_feistel(uint32_t x, uint32_t a, uint32_t k, uint32_t key)
{
    const uint32_t mask = (1u << k) - 1u;
    const uint32_t shift = 32u - k;
    uint32_t left = x >> k, right = x & mask;
    left += ((sl_round(right, key, 0x7FEB352Du) >> 16) * a) >> 16;
    left = left - a < left ? left - a : left; /* modulo a: below a, the difference wraps to a large number */
    right = (right + (sl_round(left, key, 0x85EBCA6Bu) >> shift)) & mask;
    left += ((sl_round(right, key, 0xC2B2AE35u) >> 16) * a) >> 16;
    left = left - a < left ? left - a : left;
    right = (right + (sl_round(left, key, 0x27D4EB2Fu) >> shift)) & mask;
    return (left << k) | right;
}

/* 32 bits for each element of a small permutation: the ranks of these, the lower element first among equals, are the places. */
static inline uint32_t sl_hash(uint64_t name, uint64_t element)
{
    uint64_t h = name ^ ((element + 1) * UINT64_C(0xD6E8FEB86659FD93));
    h = h * UINT64_C(0x9E3779B97F4A7C15) + UINT64_C(0x2545F4914F6CDD1D);
    h ^= h >> 30;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 27;
    h *= UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(h >> 32);
}

#define SL_LANES 8 /* hashes that are compared at once */

/* All elements of a small permutation. Ranks are counted, not sorted: no step depends on what the hashes are. */
SL_CLONES static void sl_sort_small(uint32_t key, uint32_t size, uint8_t *elements)
{
    const uint64_t name = (uint64_t)key << 32 | size;
    const int32_t n = (int32_t)size;
    int32_t hashes[SL_SORTED_SIZE], ranks[SL_SORTED_SIZE];
    for (int32_t i = 0; i < n; i++)
        hashes[i] = (int32_t)(sl_hash(name, (uint64_t)i) ^ 0x80000000u); /* the order of unsigned numbers for signed ones */
    for (int32_t i = n; i % SL_LANES; i++)
        hashes[i] = 0;
    for (int32_t at = 0; at < n; at += SL_LANES) {
        int32_t counts[SL_LANES] = {0}, own[SL_LANES];
        memcpy(own, hashes + at, sizeof own);
        for (int32_t j = 0; j < n; j++)
            for (int32_t i = 0; i < SL_LANES; i++)
                counts[i] += (hashes[j] < own[i]) | ((hashes[j] == own[i]) & (j < at + i));
        memcpy(ranks + at, counts, sizeof counts);
    }
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

/* Finds elements and writes the rows that they are in each of some tables, `starts + step * element`. */
typedef struct {
    sl_elements e;
    int64_t n_tables;
    const int64_t *starts; /* of shape (n_tables, n_starts) */
    int64_t n_starts;
    const int64_t *steps;
    int64_t *out; /* of shape (n_tables, n_out) */
    int64_t n_out;
    int64_t of[SL_AT_ONCE], due[SL_AT_ONCE]; /* which start, and where a row is written */
    uint8_t small[SL_SORTED_SIZE]; /* the elements of a small permutation, which this is */
    uint32_t small_size, small_key;
} sl_finder;

static void sl_write(sl_finder *f, int64_t of, int64_t due, int64_t element)
{
    for (int64_t t = 0; t < f->n_tables; t++)
        f->out[t * f->n_out + due] = f->starts[t * f->n_starts + of] + f->steps[t] * element;
}

static void sl_flush(sl_finder *f)
{
    sl_walk(&f->e);
    for (int64_t i = 0; i < f->e.n; i++)
        sl_write(f, f->of[i], f->due[i], (int64_t)f->e.found[i]);
    f->e.n = 0;
}

static inline void sl_find(sl_finder *f, const sl_permutation *p, int64_t place, int64_t of, int64_t due)
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

static void sl_begin(
    sl_finder *f, int64_t n_tables, const int64_t *starts, int64_t n_starts, const int64_t *steps, int64_t *out,
    int64_t n_out)
{
    memset(f, 0, sizeof *f);
    for (int64_t i = 0; i < SL_AT_ONCE; i++)
        f->e.k[i] = 1; /* so that what is not there can be walked, too */
    f->n_tables = n_tables;
    f->starts = starts;
    f->n_starts = n_starts;
    f->steps = steps;
    f->out = out;
    f->n_out = n_out;
}

/* The first n elements of a permutation. */
static void sl_permute(int64_t n, int64_t size, uint32_t key, int64_t *out)
{
    const sl_permutation p = sl_named(size, key, 1);
    sl_elements e;
    if (p.is_small) {
        uint8_t small[SL_SORTED_SIZE];
        sl_sort_small(key, p.size, small);
        for (int64_t i = 0; i < n; i++)
            out[i] = small[i];
        return;
    }
    for (int64_t i = 0; i < SL_AT_ONCE; i++) {
        e.size[i] = p.size;
        e.a[i] = p.a;
        e.k[i] = p.k;
        e.key[i] = p.key;
    }
    for (int64_t at = 0; at < n; at += SL_AT_ONCE) {
        e.n = n - at < SL_AT_ONCE ? n - at : SL_AT_ONCE;
        for (int64_t i = 0; i < SL_AT_ONCE; i++)
            e.place[i] = (uint32_t)(at + i) % p.size;
        sl_walk(&e);
        for (int64_t i = 0; i < e.n; i++)
            out[at + i] = (int64_t)e.found[i];
    }
}

/* -- cursors (see _cursors.py) ------------------------------------------------------------------------------------- */

static uint32_t sl_key_of_pass(uint32_t key, int64_t number)
{
    uint32_t h = key ^ (uint32_t)number * 0x9E3779B1u;
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return h ^ h >> 16;
}

/* What is known of streams, and how far runs move each of them. */
typedef struct {
    const int64_t *sizes;
    const uint8_t *shuffled;
    const uint32_t *keys;
    const int64_t *places, *passes; /* where the cursors stand */
    int64_t *counts;                /* zero for all streams, before and after */
    int64_t *n_runs;                /* likewise */
} sl_streams;

#define SL_RUNS_AHEAD 16

/* What is known of a stream lies in many places, of which none is at hand in a large pool. */
static inline void sl_foresee(const sl_streams *s, int64_t stream)
{
    SL_PREFETCH_TO_WRITE(s->counts + stream);
    SL_PREFETCH_TO_WRITE(s->n_runs + stream);
    SL_PREFETCH(s->sizes + stream);
    SL_PREFETCH(s->places + stream);
    SL_PREFETCH(s->passes + stream);
    SL_PREFETCH(s->shuffled + stream);
    SL_PREFETCH(s->keys + stream);
}

static int sl_is_torn(const sl_streams *s, int64_t stream)
{
    return s->n_runs[stream] > 1
        && (!s->shuffled[stream] || s->places[stream] + s->counts[stream] > s->sizes[stream]);
}

/* Moves cursors by runs of samples. Returns the number of streams that moved, which are written to `present`, sorted by
 * their first run, with the places and passes where they then stand.
 *
 * The samples of a stream are given out run by run; those of one that has no order of its own, or passes into its next pass
 * meanwhile, in time.
 */
static int64_t sl_locate(
    int64_t n_runs, const int64_t *streams, const int64_t *lengths, const int64_t *order, int64_t n,
    const sl_streams *s, int64_t n_tables, const int64_t *starts, int64_t n_streams, const int64_t *steps,
    int64_t *out, int32_t *who, int64_t *present, int64_t *new_places, int64_t *new_passes)
{
    int64_t n_present = 0, any_torn = 0;
    sl_finder f;
    const int64_t *due = order;
    sl_begin(&f, n_tables, starts, n_streams, steps, out, n);
    for (int64_t run = 0; run < n_runs; run++) {
        const int64_t stream = streams[run];
        if (run + SL_RUNS_AHEAD < n_runs)
            sl_foresee(s, streams[run + SL_RUNS_AHEAD]);
        if (!lengths[run])
            continue;
        if (!s->counts[stream])
            present[n_present++] = stream;
        s->counts[stream] += lengths[run];
        s->n_runs[stream]++;
        for (int64_t i = 0; i < lengths[run]; i++)
            who[*due++] = (int32_t)stream;
    }
    for (int64_t i = 0; i < n_present; i++) {
        if (i + SL_RUNS_AHEAD < n_present)
            sl_foresee(s, present[i + SL_RUNS_AHEAD]);
        const int64_t stream = present[i], end = s->places[stream] + s->counts[stream];
        const int is_torn = sl_is_torn(s, stream);
        new_places[i] = end % s->sizes[stream];
        new_passes[i] = s->passes[stream] + end / s->sizes[stream];
        any_torn |= is_torn;
        s->n_runs[stream] = is_torn;
        s->counts[stream] = s->places[stream]; /* from here on, where the cursor stands */
    }
    due = order;
    for (int64_t run = 0; run < n_runs; run++) {
        const int64_t stream = streams[run];
        int64_t left = lengths[run];
        if (run + SL_RUNS_AHEAD < n_runs) {
            sl_foresee(s, streams[run + SL_RUNS_AHEAD]);
            for (int64_t t = 0; t < n_tables; t++)
                SL_PREFETCH(starts + t * n_streams + streams[run + SL_RUNS_AHEAD]);
        }
        if (!left)
            continue;
        if (s->n_runs[stream]) {
            due += left;
            continue;
        }
        const int64_t size = s->sizes[stream];
        while (left) {
            const int64_t at = s->counts[stream], place = at % size, rest = size - place;
            const int64_t m = left < rest ? left : rest;
            const uint32_t key = sl_key_of_pass(s->keys[stream], s->passes[stream] + at / size);
            const sl_permutation p = sl_named(size, key, s->shuffled[stream]);
            for (int64_t i = 0; i < m; i++)
                sl_find(&f, &p, place + i, stream, *due++);
            s->counts[stream] += m;
            left -= m;
        }
    }
    if (any_torn)
        for (int64_t time = 0; time < n; time++) {
            const int64_t stream = who[time], size = s->sizes[stream];
            if (!s->n_runs[stream])
                continue;
            const int64_t at = s->counts[stream]++;
            const uint32_t key = sl_key_of_pass(s->keys[stream], s->passes[stream] + at / size);
            const sl_permutation p = sl_named(size, key, s->shuffled[stream]);
            sl_find(&f, &p, at % size, stream, time);
        }
    sl_flush(&f);
    for (int64_t i = 0; i < n_present; i++)
        s->counts[present[i]] = s->n_runs[present[i]] = 0;
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

/* -- rows ---------------------------------------------------------------------------------------------------------- */

#define SL_LINE 64
#define SL_ROWS_AHEAD 16
#define SL_MOST_AHEAD 1024 /* bytes of a row: what comes after them the processor foresees by itself */

/* Rows of `row` bytes at `base + unit * index[i]`, one after the other: those from `start` to `stop`, of `n` in all. */
static void sl_take_part(
    const char *base, int64_t unit, const int64_t *index, int64_t start, int64_t stop, int64_t n, int64_t row, char *out)
{
    const int64_t reach = row < SL_MOST_AHEAD ? row : SL_MOST_AHEAD;
    out += start * row;
    for (int64_t i = start; i < stop; i++, out += row) {
        if (i + SL_ROWS_AHEAD < n) {
            const char *soon = base + unit * index[i + SL_ROWS_AHEAD];
            for (int64_t at = 0; at < reach; at += SL_LINE)
                SL_PREFETCH(soon + at);
            SL_PREFETCH(soon + reach - 1);
        }
        if (row == 8)
            memcpy(out, base + unit * index[i], 8);
        else
            memcpy(out, base + unit * index[i], (size_t)row);
    }
}

static void sl_take(const char *base, int64_t unit, const int64_t *index, int64_t n, int64_t row, char *out)
{
    sl_take_part(base, unit, index, 0, n, n, row, out);
}

/* Replaces each index by what stands there in a table. */
static void sl_look_up(const int64_t *table, int64_t *index, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (i + SL_ROWS_AHEAD < n)
            SL_PREFETCH(table + index[i + SL_ROWS_AHEAD]);
        index[i] = table[index[i]];
    }
}

/* The sum of the squares of values, NaN or infinite if one of them is. */
#define SL_SUM_OF_SQUARES(name, type) \
    SL_CLONES static double name(const type *values, int64_t n) \
    { \
        double sums[8] = {0}; \
        int64_t i = 0; \
        for (; i + 8 <= n; i += 8) \
            for (int64_t j = 0; j < 8; j++) \
                sums[j] += (double)values[i + j] * (double)values[i + j]; \
        for (; i < n; i++) \
            sums[0] += (double)values[i] * (double)values[i]; \
        return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])); \
    }

SL_SUM_OF_SQUARES(sl_sum_of_squares_8, double)
SL_SUM_OF_SQUARES(sl_sum_of_squares_4, float)

#define SL_ADDED 16384 /* bytes: what is still in the nearest cache when it is added up */

/* Takes rows of floats of `size` bytes (4 or 8), and returns the sum of their squares. */
static double sl_take_and_add(
    const char *base, int64_t unit, const int64_t *index, int64_t n, int64_t row, char *out, int64_t size)
{
    const int64_t step = row < SL_ADDED ? SL_ADDED / row : 1;
    double total = 0.0;
    for (int64_t start = 0; start < n; start += step) {
        const int64_t stop = start + step < n ? start + step : n;
        sl_take_part(base, unit, index, start, stop, n, row, out);
        if (size == 8)
            total += sl_sum_of_squares_8((const double *)(out + start * row), (stop - start) * row / 8);
        else
            total += sl_sum_of_squares_4((const float *)(out + start * row), (stop - start) * row / 4);
    }
    return total;
}

/* -- tables of Arrow (its C data interface, whose layout will not change) ------------------------------------------ */

typedef struct sl_arrow_schema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct sl_arrow_schema **children, *dictionary;
    void (*release)(struct sl_arrow_schema *);
    void *private_data;
} sl_arrow_schema;

typedef struct sl_arrow_array {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct sl_arrow_array **children, *dictionary;
    void (*release)(struct sl_arrow_array *);
    void *private_data;
} sl_arrow_array;

/* The kind of the values of a column, and where they lie one after another; 0: they do not, or some are null. */
static char sl_arrow_column(const sl_arrow_schema *schema, const sl_arrow_array *array, int64_t offset, uintptr_t *address)
{
    const char kind = schema->format[0];
    const int64_t size = kind == 'g' || kind == 'l' || kind == 'L' ? 8 : kind == 'f' || kind == 'i' || kind == 'I' ? 4 : 0;
    *address = 0;
    if (!size || schema->format[1] || schema->dictionary || array->n_buffers != 2)
        return 0;
    if (array->null_count > 0 || (array->null_count < 0 && array->buffers[0]))
        return 0;
    *address = (uintptr_t)array->buffers[1] + (uintptr_t)((offset + array->offset) * size);
    return kind;
}

/* Rows that begin `step` bytes apart, one after another. */
static void sl_copy_rows(const char *rows, int64_t step, int64_t n, int64_t row, char *out)
{
    if (step == row) {
        memcpy(out, rows, (size_t)(n * row));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * row, rows + i * step, (size_t)row);
}

/* The hash of `_random.mix`, a key more. */
static inline uint64_t sl_mix(uint64_t h, uint64_t key)
{
    h = (h ^ key) + UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ (h >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94D049BB133111EB);
    return h ^ (h >> 31);
}

/* Columns of values of `size` bytes (4 or 8) as rows, each at the place that `places` says. A line of the cache of each column
 * at a time, since the columns may collide in it; what comes next is fetched meanwhile. */
#define SL_LAY_ROWS(name, type) \
    static void name(const char **columns, int64_t n_columns, const int64_t *places, int64_t n, char *out) \
    { \
        enum { AT_ONCE = SL_LINE / sizeof(type) }; \
        const int64_t row = n_columns * (int64_t)sizeof(type), reach = row < SL_MOST_AHEAD ? row : SL_MOST_AHEAD; \
        type *rows[AT_ONCE]; \
        for (int64_t i = 0; i < n; i += AT_ONCE) { \
            const int64_t m = n - i < AT_ONCE ? n - i : AT_ONCE; \
            for (int64_t r = 0; r < m; r++) \
                rows[r] = (type *)(out + places[i + r] * row); \
            for (int64_t r = i + AT_ONCE; r < n && r < i + 2 * AT_ONCE; r++) \
                for (int64_t at = 0; at < reach; at += SL_LINE) \
                    SL_PREFETCH_TO_WRITE(out + places[r] * row + at); \
            for (int64_t j = 0; j < n_columns; j++) { \
                const type *column = (const type *)columns[j] + i; \
                if (n - i > 3 * AT_ONCE) \
                    SL_PREFETCH(column + 2 * AT_ONCE); \
                if (m == AT_ONCE) \
                    for (int64_t r = 0; r < AT_ONCE; r++) \
                        rows[r][j] = column[r]; \
                else \
                    for (int64_t r = 0; r < m; r++) \
                        rows[r][j] = column[r]; \
            } \
        } \
    }

SL_LAY_ROWS(sl_lay_rows_8, uint64_t)
SL_LAY_ROWS(sl_lay_rows_4, uint32_t)
