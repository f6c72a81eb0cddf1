/* Loops over samples, which NumPy could only do in many passes, each of which asks for the interpreter.
 *
 * They know nothing of Python. Whoever calls them has checked shapes and kinds, and that every index is that of a row.
 */
#ifndef SL_KERNELS
#define SL_KERNELS

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
/* To the second cache: more lines can be on their way there than to the first one. */
#define SL_PREFETCH(address) __builtin_prefetch(address, 0, 2)
#define SL_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1, 2)
#else
#define SL_PREFETCH(address) ((void)(address))
#define SL_PREFETCH_TO_WRITE(address) ((void)(address))
#endif

/* -- rows ---------------------------------------------------------------------------------------------------------- */

#define SL_LINE 64
#define SL_ROWS_AHEAD 32
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

#endif
