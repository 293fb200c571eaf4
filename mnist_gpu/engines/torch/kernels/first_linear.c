/* A network's first layer, fully connected, with the ReLU after it, forward and backward.
 *
 * Most of an image is background, which is one number: that of the first pixel of all is taken for
 * it. If b is the background and d what a pixel differs from it, then of all pixels x and weights w
 *
 *     sum(x w) = b sum(w) + sum(d w)
 *
 * and products with the d that are zero are left out: right for any images, and fast for those that
 * have a background. The input needs no gradient.
 *
 * Weights lie feature by feature, as in `sparse_linear.c`. The compiler gets REAL and INTEGER (of the
 * same width), FEATURES (a multiple of GROUP) and UNITS (of WIDE). What comes out does not depend on
 * the number of threads.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "pixels.h"
#include "list.h"
#include "rows.h"

#define GROUP 16 /* features at a time: a line of a cache holds them */

static inline REAL background_of(const REAL *input)
{
    /* of a first pixel that is no finite number all others would become none */
    return input[0] - input[0] == 0 ? input[0] : 0;
}

/* n numbers less the background; a multiple of GROUP */
static inline void subtract(const REAL *x, REAL background, int n, REAL *rest)
{
    for (int i = 0; i < n; i += LANES)
        AT(rest + i) = GIVEN(x + i) - background;
}

/* one image's units */
static inline void rectify(const REAL *output, const REAL *value, REAL *to)
{
    for (int unit = 0; unit < UNITS; unit += LANES)
        AT(to + unit) = rectified(GIVEN(output + unit), GIVEN(value + unit));
}

/* bias (UNITS) and what the background alone adds to it */
static void of_background(const REAL *weight, const REAL *bias, REAL background, REAL *start)
{
    for (int unit = 0; unit < UNITS; unit += WIDE) {
        vector sum[BLOCK] = {0};
        for (int k = 0; k < FEATURES; k++)
#pragma GCC unroll 8
            for (int v = 0; v < BLOCK; v++)
                sum[v] += GIVEN(weight + k * UNITS + unit + v * LANES);
        for (int v = 0; v < BLOCK; v++)
            AT(start + unit + v * LANES) = GIVEN(bias + unit + v * LANES) + background * sum[v];
    }
}

/* input (images, FEATURES), weight (FEATURES, UNITS), bias (UNITS); output (images, UNITS) */
void forward(const REAL *input, const REAL *weight, const REAL *bias, REAL *output, int images,
             int threads)
{
    const REAL background = background_of(input);
    REAL start[UNITS];
    of_background(weight, bias, background, start);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int image = 0; image < images; image++) {
        REAL rest[FEATURES], *y = output + (int64_t)image * UNITS;
        int which[FEATURES + SPARE];
        subtract(input + (int64_t)image * FEATURES, background, FEATURES, rest);
        const int count = list(rest, FEATURES, which);
        memcpy(y, start, sizeof start);
        for (int unit = 0; unit < UNITS; unit += WIDE)
            add_rows(weight + unit, rest, which, count, y + unit);
        rectify(y, y, y);
    }
}

/* output (images, UNITS) as forward gave it; gradient of it, in its shape; passed: room for as many;
 * room: for threads * CHUNK * (3 * images + SPARE); to_weight, to_bias: in the shapes of weight and
 * bias */
void backward(const REAL *input, const REAL *output, const REAL *gradient, REAL *passed, REAL *room,
              REAL *to_weight, REAL *to_bias, int images, int threads)
{
    const REAL background = background_of(input);
    const int padded = (images + GROUP - 1) / GROUP * GROUP;
#pragma omp parallel num_threads(threads)
    {
        REAL *column = room + (int64_t)omp_get_thread_num() * CHUNK * (3 * images + SPARE);
        int *which = (int *)(column + GROUP * padded);
        memset(column, 0, sizeof(REAL) * GROUP * padded);
#pragma omp for schedule(static)
        for (int image = 0; image < images; image++) {
            const int64_t here = (int64_t)image * UNITS;
            rectify(output + here, gradient + here, passed + here);
        }
#pragma omp single
        {
            memset(to_bias, 0, sizeof(REAL) * UNITS);
            for (int image = 0; image < images; image++)
                for (int unit = 0; unit < UNITS; unit += LANES)
                    AT(to_bias + unit) += GIVEN(passed + (int64_t)image * UNITS + unit);
        }
#pragma omp for schedule(static)
        for (int k = 0; k < FEATURES; k += GROUP) {
            /* a feature's numbers of all images side by side */
            for (int image = 0; image < images; image++) {
                REAL rest[GROUP];
                subtract(input + (int64_t)image * FEATURES + k, background, GROUP, rest);
                for (int i = 0; i < GROUP; i++)
                    column[i * padded + image] = rest[i];
            }
            for (int i = 0; i < GROUP; i++) {
                const REAL *x = column + i * padded;
                REAL *to_row = to_weight + (int64_t)(k + i) * UNITS;
                const int count = list(x, padded, which);
                for (int unit = 0; unit < UNITS; unit += LANES)
                    AT(to_row + unit) = background * GIVEN(to_bias + unit);
                for (int unit = 0; unit < UNITS; unit += WIDE)
                    add_rows(passed + unit, x, which, count, to_row + unit);
            }
        }
    }
}
