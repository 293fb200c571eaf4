/* A network's first convolution, 3x3 over images of one channel (stride 1, no padding), with the
 * ReLU after it, forward and backward.
 *
 * It has little to multiply and much to write: each pixel's output is made whole in registers and
 * goes to memory once, rectified. Its input needs no gradient.
 *
 * Outputs are channels-last. The compiler gets REAL and INTEGER (of the same width), FILTERS (a
 * multiple of 16), HEIGHT and WIDTH of the input. With BFLOAT16, the output and its gradient are
 * bfloat16 and all else is float.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "pixels.h"

#define DOWN (HEIGHT - 2)
#define ACROSS (WIDTH - 2)
#define TAPS 9
/* as many filters at a time as leave their weights, or the sums of their gradients, in registers */
#define VECTORS (TAPS * FILTERS / LANES < REGISTERS ? FILTERS / LANES : 1)
#define BLOCK (VECTORS * LANES)

/* a pixel and those around it, of the row where the convolution begins */
#define PIXEL(x, tap, at) ((x)[(tap) / 3 * WIDTH + (tap) % 3 + (at)])

static const REAL *row_of(const REAL *input, int row)
{
    return input + ((int64_t)row / DOWN * HEIGHT + row % DOWN) * WIDTH;
}

/* one row of output, for BLOCK filters; weight (TAPS, FILTERS) */
static void convolve(const REAL *x, const REAL *weight, const REAL *bias, pixel *out)
{
    vector w[TAPS][VECTORS], start[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        start[v] = GIVEN(bias + v * LANES);
        for (int tap = 0; tap < TAPS; tap++)
            w[tap][v] = GIVEN(weight + tap * FILTERS + v * LANES);
    }
    for (int at = 0; at < ACROSS; at++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            vector sum = start[v];
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++)
                sum += PIXEL(x, tap, at) * w[tap][v];
            write_pixels(out + at * FILTERS + v * LANES, rectified(sum, sum));
        }
}

/* input (images, HEIGHT, WIDTH), weight (FILTERS, 3, 3), bias (FILTERS);
 * output (images, DOWN, ACROSS, FILTERS) */
void forward(const REAL *input, const REAL *weight, const REAL *bias, pixel *output, int images,
             int threads)
{
    REAL across[TAPS * FILTERS];
    for (int i = 0; i < TAPS * FILTERS; i++)
        across[i] = weight[i % FILTERS * TAPS + i / FILTERS];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int row = 0; row < images * DOWN; row++)
        for (int f = 0; f < FILTERS; f += BLOCK)
            convolve(row_of(input, row), across + f, bias + f,
                     output + (int64_t)row * ACROSS * FILTERS + f);
}

/* sums (TAPS + 1, FILTERS): of the gradients of the weights, then of the bias, for BLOCK filters */
static void gather(const REAL *x, const pixel *output, const pixel *gradient, REAL *sums)
{
    vector sum[TAPS + 1][VECTORS];
    for (int tap = 0; tap <= TAPS; tap++)
        for (int v = 0; v < VECTORS; v++)
            sum[tap][v] = GIVEN(sums + tap * FILTERS + v * LANES);
    for (int at = 0; at < ACROSS; at++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            const int here = at * FILTERS + v * LANES;
            const vector passed =
                rectified(read_pixels(output + here), read_pixels(gradient + here));
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++)
                sum[tap][v] += PIXEL(x, tap, at) * passed;
            sum[TAPS][v] += passed;
        }
    for (int tap = 0; tap <= TAPS; tap++)
        for (int v = 0; v < VECTORS; v++)
            AT(sums + tap * FILTERS + v * LANES) = sum[tap][v];
}

/* gradient: of output, in its shape; partial: room for threads * FILTERS * (TAPS + 1);
 * to_weight, to_bias: in the shapes of weight and bias. */
void backward(const REAL *input, const pixel *output, const pixel *gradient, REAL *partial,
              REAL *to_weight, REAL *to_bias, int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num(), all = omp_get_num_threads();
        const int each = FILTERS * (TAPS + 1);
        REAL *mine = partial + me * each;
        memset(mine, 0, sizeof(REAL) * each);
#pragma omp for schedule(static)
        for (int row = 0; row < images * DOWN; row++)
            for (int f = 0; f < FILTERS; f += BLOCK) {
                const int64_t here = (int64_t)row * ACROSS * FILTERS + f;
                gather(row_of(input, row), output + here, gradient + here, mine + f);
            }
#pragma omp for schedule(static)
        for (int i = 0; i < each; i++) {
            const int tap = i / FILTERS, f = i % FILTERS;
            REAL total = 0;
            for (int thread = 0; thread < all; thread++)
                total += partial[thread * each + i];
            *(tap < TAPS ? to_weight + f * TAPS + tap : to_bias + f) = total;
        }
    }
}
