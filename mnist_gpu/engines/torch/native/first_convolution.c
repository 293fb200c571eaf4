/* A network's first convolution, 3x3 over images of one channel (stride 1, no padding), with the
 * ReLU after it, forward and backward.
 *
 * It has little to multiply and much to write: each pixel's output is made whole in registers and
 * goes to memory once, rectified. Its input needs no gradient.
 *
 * Outputs are channels-last. The compiler gets REAL and INTEGER (of the same width), FILTERS (a
 * multiple of 16), HEIGHT and WIDTH of the input.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"

#define DOWN (HEIGHT - 2)
#define ACROSS (WIDTH - 2)
#define TAPS 9
/* as many filters at a time as leave their weights, or the sums of their gradients, in registers */
#define VECTORS (TAPS * FILTERS / LANES < REGISTERS ? FILTERS / LANES : 1)
#define BLOCK (VECTORS * LANES)

/* input (images, HEIGHT, WIDTH), weight (FILTERS, 3, 3), bias (FILTERS);
 * output (images, DOWN, ACROSS, FILTERS) */
void forward(const REAL *input, const REAL *weight, const REAL *bias, REAL *output, int images,
             int threads)
{
#pragma omp parallel num_threads(threads)
    for (int first = 0; first < FILTERS; first += BLOCK) {
        REAL across[TAPS][BLOCK];
        for (int tap = 0; tap < TAPS; tap++)
            for (int f = 0; f < BLOCK; f++)
                across[tap][f] = weight[(first + f) * TAPS + tap];
#pragma omp for schedule(static)
        for (int row = 0; row < images * DOWN; row++) {
            const REAL *x = input + ((int64_t)row / DOWN * HEIGHT + row % DOWN) * WIDTH;
            REAL *out = output + (int64_t)row * ACROSS * FILTERS + first;
            for (int at = 0; at < ACROSS; at++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++) {
                    vector sum = GIVEN(bias + first + v * LANES);
#pragma GCC unroll 9
                    for (int tap = 0; tap < TAPS; tap++)
                        sum += x[tap / 3 * WIDTH + tap % 3 + at] * GIVEN(across[tap] + v * LANES);
                    /* as it is said, so that a NaN stays one */
                    AT(out + at * FILTERS + v * LANES) =
                        choose((mask)(sum <= 0), (vector){0}, sum);
                }
        }
    }
}

/* gradient: of output, in its shape; partial: room for threads * FILTERS * (TAPS + 1);
 * to_weight, to_bias: in the shapes of weight and bias. */
void backward(const REAL *input, const REAL *output, const REAL *gradient, REAL *partial,
              REAL *to_weight, REAL *to_bias, int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num(), all = omp_get_num_threads();
        const int each = FILTERS * (TAPS + 1);
        REAL *mine = partial + me * each;
        for (int first = 0; first < FILTERS; first += BLOCK) {
            vector sum[TAPS][VECTORS] = {0}, of_all[VECTORS] = {0};
            for (int row = images * DOWN * me / all; row < images * DOWN * (me + 1) / all; row++) {
                const REAL *x = input + ((int64_t)row / DOWN * HEIGHT + row % DOWN) * WIDTH;
                const int64_t here = (int64_t)row * ACROSS * FILTERS + first;
                for (int at = 0; at < ACROSS; at++)
#pragma GCC unroll 4
                    for (int v = 0; v < VECTORS; v++) {
                        const int64_t place = here + at * FILTERS + v * LANES;
                        const vector passed = choose((mask)(GIVEN(output + place) <= 0),
                                                     (vector){0}, GIVEN(gradient + place));
                        of_all[v] += passed;
#pragma GCC unroll 9
                        for (int tap = 0; tap < TAPS; tap++)
                            sum[tap][v] += x[tap / 3 * WIDTH + tap % 3 + at] * passed;
                    }
            }
            for (int v = 0; v < VECTORS; v++) {
                for (int tap = 0; tap < TAPS; tap++)
                    AT(mine + tap * FILTERS + first + v * LANES) = sum[tap][v];
                AT(mine + TAPS * FILTERS + first + v * LANES) = of_all[v];
            }
        }
#pragma omp barrier
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
