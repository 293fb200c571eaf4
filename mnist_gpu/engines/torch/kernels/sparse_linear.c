/* A fully connected layer whose input is the output of a ReLU, forward and backward: products with
 * its zeros are left out, and where it is zero no gradient passes to it.
 *
 * Weights lie feature by feature: what a number of the input is multiplied by, or what is summed for
 * it, is in one place, and a processor's registers hold it for all units.
 *
 * The compiler gets REAL and INTEGER (of the same width), FEATURES (a multiple of CHUNK) and UNITS
 * (of WIDE). With BFLOAT16 the input and its gradient are bfloat16, and so is what is multiplied;
 * weights, their gradient and all sums are float.
 *
 * The results depend on the number of threads only by the order in which the output is summed; they
 * are the same every time.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "pixels.h"
#include "list.h"
#include "rows.h"

#define LINE 64 /* bytes in a line of a cache */
#define AHEAD 4 /* images; rows of one are too far apart for the processor to foresee */

static inline void fetch(const void *from, int size)
{
    for (int byte = 0; byte < size; byte += LINE)
        __builtin_prefetch((const char *)from + byte);
}

/* input (images, FEATURES), weight (FEATURES, UNITS), bias (UNITS); room: for threads * images *
 * UNITS; output (images, UNITS) */
void forward(const pixel *input, const REAL *weight, const REAL *bias, REAL *room, REAL *output,
             int images, int threads)
{
    const int64_t each = (int64_t)images * UNITS;
#pragma omp parallel num_threads(threads)
    {
        const int all = omp_get_num_threads();
        REAL *mine = room + omp_get_thread_num() * each;
        pixel rounded[CHUNK * UNITS];
        int which[CHUNK + SPARE];
        memset(mine, 0, sizeof(REAL) * each);
#pragma omp for schedule(static)
        for (int k = 0; k < FEATURES; k += CHUNK) {
            const REAL *here = weight + (int64_t)k * UNITS;
            const pixel *w = narrow(here, CHUNK, rounded);
            for (int image = 0; image < images; image++) {
                const pixel *x = input + (int64_t)image * FEATURES + k;
                const int count = list_of(bits_of(x), 0, which);
                fetch(x + AHEAD * FEATURES, CHUNK * sizeof(pixel));
                if (image < CHUNK)
                    fetch(here + (CHUNK + image) * UNITS, UNITS * sizeof(REAL));
                for (int unit = 0; unit < UNITS; unit += WIDE)
                    add_rows(w + unit, x, which, count, mine + image * UNITS + unit);
            }
        }
#pragma omp for schedule(static)
        for (int i = 0; i < images; i++)
            for (int unit = 0; unit < UNITS; unit++) {
                REAL sum = bias[unit];
                for (int thread = 0; thread < all; thread++)
                    sum += room[thread * each + i * UNITS + unit];
                output[i * UNITS + unit] = sum;
            }
    }
}

/* For CHUNK features of the input: a copy of them, how many numbers of each are not zero, and which
 * images' they are. The features of one image are a few lines of a cache, but those of all images
 * share its places: a copy does not. */
typedef struct {
    pixel *x; /* (images, CHUNK) */
    int count[CHUNK];
    int *image; /* (CHUNK, images + SPARE) */
} columns;

static void find(const pixel *input, int images, columns *found)
{
    memset(found->count, 0, sizeof found->count);
    for (int first = 0; first < images; first += CHUNK) {
        uint64_t bits[CHUNK] = {0};
        const int end = images < first + CHUNK ? images : first + CHUNK;
        for (int image = first; image < end; image++) {
            const pixel *x = input + (int64_t)image * FEATURES;
            fetch(x + AHEAD * FEATURES, CHUNK * sizeof(pixel));
            memcpy(found->x + image * CHUNK, x, CHUNK * sizeof(pixel));
            bits[image - first] = bits_of(x);
        }
        transpose(bits);
        for (int i = 0; i < CHUNK; i++) {
            int *next = found->image + i * (images + SPARE) + found->count[i];
            found->count[i] += list_of(bits[i], first, next);
        }
    }
}

/* gradient (images, UNITS) of output; rounded: room for as many; room: for threads * CHUNK * (3 *
 * images + SPARE); to_input, to_weight: in the shapes of input and weight */
void backward(const pixel *input, const REAL *weight, const REAL *gradient, pixel *rounded,
              REAL *room, pixel *to_input, REAL *to_weight, int images, int threads)
{
    const pixel *g = narrow(gradient, images, rounded);
    const int64_t each = (int64_t)CHUNK * images;
#pragma omp parallel num_threads(threads)
    {
        REAL *to_x = room + omp_get_thread_num() * (3 * each + CHUNK * SPARE);
        columns found = {.x = (pixel *)(to_x + each), .image = (int *)(to_x + 2 * each)};
#pragma omp for schedule(static)
        for (int k = 0; k < FEATURES; k += CHUNK) {
            find(input + k, images, &found);
            /* rows of to_input are as far apart as those of the input */
            memset(to_x, 0, sizeof(REAL) * each);
            for (int i = 0; i < CHUNK; i++) {
                const int64_t at = (int64_t)(k + i) * UNITS;
                fetch(weight + at + AHEAD * UNITS, UNITS * sizeof(REAL));
                for (int unit = 0; unit < UNITS; unit += WIDE)
                    pass_back(found.x + i, found.image + i * (images + SPARE), found.count[i],
                              weight + at + unit, g + unit, to_x + i, to_weight + at + unit);
            }
            for (int image = 0; image < images; image++)
                for (int i = 0; i < CHUNK; i += LANES)
                    write_pixels(to_input + (int64_t)image * FEATURES + k + i,
                                 GIVEN(to_x + image * CHUNK + i));
        }
    }
}
