/* Plans of muxes within muxes, and visits laid out (see _nested.py and _plan.py, whose results these are).
 *
 * As _kernels.h, they know nothing of Python. Whoever calls them has checked that indices are those of what is there.
 */
#include <stdint.h>
#include <string.h>

/* -- samples of passes, dealt to slots ------------------------------------------------------------------------------- */

/* Sorts few numbers in place. */
static void sl_sort_few(int64_t *numbers, int64_t n)
{
    for (int64_t gap = n / 2; gap; gap /= 2)
        for (int64_t i = gap; i < n; i++) {
            const int64_t number = numbers[i];
            int64_t at = i;
            for (; at >= gap && numbers[at - gap] > number; at -= gap)
                numbers[at] = numbers[at - gap];
            numbers[at] = number;
        }
}

/* Runs of samples in an order of their own; those of a pass follow each other, in time. */
typedef struct {
    int64_t n_runs;
    const int64_t *by_seat, *starts, *lengths, *of_runs; /* of each run: the first of its samples, how many, their pass */
    const int64_t *order;                                /* places in time of all samples */
    const uint16_t *draws;                               /* and their slots */
} sl_runs;

/* Sorts the samples of each pass by slot. Returns how many slots are drawn: pass * n_slots + slot of each, and how often. */
static int64_t sl_deal(
    const sl_runs *r, int64_t n_slots, int64_t *begins, int64_t *touched, int64_t *order, int64_t *drawn, int64_t *counts)
{
    int64_t n_drawn = 0, at = 0;
    memset(begins, 0, (size_t)n_slots * sizeof *begins);
    for (int64_t run = 0, stop; run < r->n_runs; run = stop) {
        const int64_t pass = r->of_runs[r->by_seat[run]];
        int64_t n_touched = 0;
        for (stop = run; stop < r->n_runs && r->of_runs[r->by_seat[stop]] == pass; stop++) {
            const int64_t start = r->starts[r->by_seat[stop]], end = start + r->lengths[r->by_seat[stop]];
            for (int64_t i = start; i < end; i++)
                if (!begins[r->draws[i]]++)
                    touched[n_touched++] = r->draws[i];
        }
        if (4 * n_touched < n_slots) {
            sl_sort_few(touched, n_touched);
        } else {
            n_touched = 0;
            for (int64_t slot = 0; slot < n_slots; slot++)
                if (begins[slot])
                    touched[n_touched++] = slot;
        }
        for (int64_t i = 0; i < n_touched; i++) {
            const int64_t count = begins[touched[i]];
            drawn[n_drawn] = pass * n_slots + touched[i];
            counts[n_drawn++] = count;
            begins[touched[i]] = at;
            at += count;
        }
        for (int64_t i = run; i < stop; i++) {
            const int64_t start = r->starts[r->by_seat[i]], end = start + r->lengths[r->by_seat[i]];
            for (int64_t j = start; j < end; j++)
                order[begins[r->draws[j]]++] = r->order[j];
        }
        for (int64_t i = 0; i < n_touched; i++)
            begins[touched[i]] = 0;
    }
    return n_drawn;
}

/* -- visits ---------------------------------------------------------------------------------------------------------- */

/* Begins up to n_visits visits in each of some slots, as long as they have begun within `counts`. Slots that may have more stay
 * in `some`, with what they have reached. Returns how many visits begin, and changes n_some. */
static int64_t sl_begin_some(
    int64_t *some, int64_t *reached, int64_t *n_some, const int64_t *counts, const int64_t *lengths, int64_t n_visits,
    int64_t *slots, int64_t *starts, int64_t *ends)
{
    int64_t n = 0, n_left = 0;
    for (int64_t i = 0; i < *n_some; i++, lengths += n_visits) {
        const int64_t slot = some[i], most = counts[slot];
        int64_t at = reached[i];
        for (int64_t visit = 0; visit < n_visits && at <= most; visit++) {
            slots[n] = slot;
            starts[n] = at;
            ends[n++] = at += lengths[visit];
        }
        if (at <= most) {
            some[n_left] = slot;
            reached[n_left++] = at;
        }
    }
    *n_some = n_left;
    return n;
}

/* Puts visits together by slot: first those under way, of which each slot has one of `left` samples, then others as they come. */
static void sl_put_together(
    int64_t n_slots, const int64_t *counts, const int64_t *under_way, int64_t n, const int64_t *of, const int64_t *from,
    const int64_t *to, int64_t *slots, int64_t *starts, int64_t *lengths, uint8_t *fresh, int64_t *last, int64_t *left)
{
    int64_t at = 0;
    for (int64_t slot = 0; slot < n_slots; slot++)
        last[slot] = 1;
    for (int64_t i = 0; i < n; i++)
        last[of[i]]++;
    for (int64_t slot = 0; slot < n_slots; slot++) {
        const int64_t next = at + last[slot], most = counts[slot];
        slots[at] = slot;
        starts[at] = 0;
        lengths[at] = under_way[slot] < most ? under_way[slot] : most;
        fresh[at] = 0;
        left[slot] = under_way[slot] - most;
        last[slot] = at; /* for now the one before the next to come */
        at = next;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t slot = of[i], place = ++last[slot], most = counts[slot];
        slots[place] = slot;
        starts[place] = from[i];
        lengths[place] = (to[i] < most ? to[i] : most) - from[i];
        fresh[place] = 1;
        left[slot] = to[i] - most;
    }
}

/* What the slots of passes hold, by their seats. */
typedef struct {
    int64_t n_passes, n_slots;
    const int64_t *seats;
    const uint8_t *fresh, *last; /* of passes */
    int64_t *holder, *left;      /* of seats * n_slots + slot */
} sl_seats;

/* Gives visits of drawn slots their streams, new ones to fresh visits, and notes what slots then hold. Returns how many visits
 * there are; others are of slots that held nothing. */
static int64_t sl_settle(
    const sl_seats *s, int64_t n_drawn, const int64_t *drawn, const int64_t *last, const int64_t *left,
    const int64_t *lengths, const uint8_t *fresh, const int64_t *new_streams, int64_t *out_streams, int64_t *out_lengths,
    int64_t *out_seats, uint8_t *out_fresh)
{
    int64_t n = 0, visit = 0, pass = 0, first = 0;
    for (int64_t i = 0; i < s->n_passes; i++)
        if (s->fresh[i])
            memset(s->left + s->seats[i] * s->n_slots, 0, (size_t)s->n_slots * sizeof *s->left);
    for (int64_t i = 0; i < n_drawn; i++) {
        for (; drawn[i] >= first + s->n_slots; pass++)
            first += s->n_slots;
        const int64_t seat = s->seats[pass] * s->n_slots + drawn[i] - first;
        int64_t stream = s->holder[seat];
        for (; visit <= last[i]; visit++) {
            if (fresh[visit])
                stream = *new_streams++;
            if (!fresh[visit] && !lengths[visit])
                continue;
            out_streams[n] = stream;
            out_lengths[n] = lengths[visit];
            out_seats[n] = seat;
            out_fresh[n++] = fresh[visit];
        }
        if (s->last[pass]) {
            s->holder[seat] = stream;
            s->left[seat] = left[i];
        }
    }
    return n;
}
