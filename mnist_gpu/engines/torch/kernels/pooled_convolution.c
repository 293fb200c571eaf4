/* A 3x3 convolution (stride 1, no padding) with the 2x2 max-pool, ReLU and dropout after it, forward
 * and backward.
 *
 * Both passes compute what these layers compute, with less arithmetic:
 *
 * - Forward is Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv:1509.09308): 16 products where the
 *   direct way has 36. One 2x2 tile of its output is one window of the pool, so the convolution's
 *   output never goes to memory.
 * - Backward skips zeros. A window passes its gradient to its largest element alone, and nothing
 *   passes where ReLU or dropout made a zero: of four products one is left at most.
 *
 * Everything is channels-last. The compiler gets the sizes of the layer: REAL and INTEGER (of the
 * same width), CHANNELS, FILTERS, HEIGHT and WIDTH of the input, TILE_BLOCK (a divisor of the tiles
 * in a row). CHANNELS must be a multiple of 16, FILTERS of 64. With BFLOAT16, images, outputs and
 * their gradients are bfloat16, and so is what is multiplied, but for the gradient of the input; sums,
 * weights and their gradients are float. CHANNELS must then be a multiple of 32.
 *
 * The results depend on the number of threads only by the order in which the weights' gradient is
 * summed; they are the same every time.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "pixels.h"

#define NOBODY 4 /* a winner from here on: its number is zero, and nothing passes to its window */
#define TILES_DOWN ((HEIGHT - 2) / 2)
#define TILES_ACROSS ((WIDTH - 2) / 2)
#define CELLS (TILES_DOWN * TILES_ACROSS)
#define IMAGE (HEIGHT * WIDTH * CHANNELS)
#define ROW (3 * CHANNELS) /* of a filter: three pixels, beside each other in memory */
#define WEIGHT (3 * ROW)

#include "list.h"
#include "nonzero.h"
#include "winograd.h"

/* input (images, HEIGHT, WIDTH, CHANNELS), weight (FILTERS, 3, 3, CHANNELS), bias (FILTERS);
 * kept: a bit for each number of pooled, the lowest of a byte first, or NULL for no dropout;
 * transformed: room for 16 * CHANNELS * FILTERS; scale: of what is kept;
 * pooled, winners (0 to 3: the place in its window, from NOBODY on: pooled is zero):
 * (images, TILES_DOWN, TILES_ACROSS, FILTERS) */
void forward(const pixel *input, const REAL *weight, const REAL *bias, const uint8_t *kept,
             pixel *transformed, pixel *pooled, uint8_t *winners, double scale, int images,
             int threads)
{
#pragma omp parallel num_threads(threads)
    {
        pixel tiles[16 * TILE_BLOCK * CHANNELS];
        REAL products[16 * TILE_BLOCK * FILTERS];
#pragma omp for schedule(static)
        for (int f = 0; f < FILTERS; f++)
            transform_filter(weight + f * WEIGHT, f, transformed);
#pragma omp for schedule(static)
        for (int row = 0; row < images * TILES_DOWN; row++)
            for (int tile = 0; tile < TILES_ACROSS; tile += TILE_BLOCK) {
                const int64_t image = row / TILES_DOWN, y = row % TILES_DOWN * 2;
                transform_input(input + image * IMAGE + (y * WIDTH + 2 * tile) * CHANNELS, tiles);
                for (int k = 0; k < 16; k++)
                    multiply(tiles + k * TILE_BLOCK * CHANNELS,
                             transformed + k * CHANNELS * FILTERS,
                             products + k * TILE_BLOCK * FILTERS);
                pool(products, bias, kept, ((int64_t)row * TILES_ACROSS + tile) * FILTERS,
                     (REAL)scale, pooled, winners);
            }
    }
}

/* gradient: of pooled, in its shape; scale: forward's; room: for threads * (FILTERS * (WEIGHT + 1)
 * + IMAGE); to_input, to_weight, to_bias: in the shapes of input, weight and bias. */
void backward(const pixel *input, const REAL *weight, const pixel *gradient,
              const uint8_t *winners, REAL *room, pixel *to_input, REAL *to_weight,
              REAL *to_bias, double scale, int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t sums = FILTERS * (WEIGHT + 1), each = sums + IMAGE;
        REAL *mine = room + me * each, *to_x = mine + sums;
        gradients found;
        memset(mine, 0, sizeof(REAL) * sums);
        for (int64_t image = images * me / all; image < images * (me + 1) / all; image++) {
            const int64_t cells = image * CELLS * FILTERS;
            memset(to_x, 0, sizeof(REAL) * IMAGE);
            /* by halves: what is gone over filter by filter stays nearer */
            for (int half = 0; half < 2; half++) {
                find(gradient + cells, winners + cells, (REAL)scale,
                     TILES_DOWN * half / 2 * TILES_ACROSS,
                     TILES_DOWN * (half + 1) / 2 * TILES_ACROSS, &found, mine + FILTERS * WEIGHT);
                for (int f = 0; f < FILTERS; f++)
                    add_to_weight(input + image * IMAGE, mine + f * WEIGHT, &found, f);
                for (int f = 0; f < FILTERS; f++)
                    add_to_input(weight + f * WEIGHT, to_x, &found, f);
            }
            for (int i = 0; i < IMAGE; i += LANES)
                write_pixels(to_input + image * IMAGE + i, GIVEN(to_x + i));
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int i = 0; i < FILTERS * (WEIGHT + 1); i++) {
            const int bias = i - FILTERS * WEIGHT;
            REAL sum = 0;
            for (int thread = 0; thread < all; thread++)
                sum += room[thread * each + (bias < 0 ? stored(i) : i)];
            *(bias < 0 ? to_weight + i : to_bias + bias) = sum;
        }
    }
}
