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
 * in a row). CHANNELS must be a multiple of 16, FILTERS of 64.
 *
 * The results depend on the number of threads only by the order in which the weights' gradient is
 * summed; they are the same every time.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"

#define FILTER_BLOCK (VECTOR_BYTES == 32 ? 2 : 4)
typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL)), aligned(1), may_alias));

/* What forward multiplies: numbers as they are, or pairs of channels rounded to bfloat16. */
#if defined(BFLOAT16) && defined(__AVX512BF16__)
#include <immintrin.h>
typedef uint16_t operand;
typedef uint32_t uint32_u __attribute__((aligned(2), may_alias));
#define PAIR 2
static inline void round_to(operand *out, vector value)
{
    _mm256_storeu_si256((__m256i_u *)out, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
static inline operand rounded(REAL value)
{
    return (operand)_mm_cvtsi128_si32((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)));
}
static inline vector multiply_add(const operand *left, const operand *right, vector sum)
{
    const __m512i pair = _mm512_set1_epi32(*(const uint32_u *)left);
    return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pair, (__m512bh)_mm512_loadu_si512(right));
}
#else
typedef REAL operand;
#define PAIR 1
static inline void round_to(operand *out, vector value)
{
    AT(out) = value;
}
static inline operand rounded(REAL value)
{
    return value;
}
static inline vector multiply_add(const operand *left, const operand *right, vector sum)
{
    return sum + *left * GIVEN(right);
}
#endif

#define TILES_DOWN ((HEIGHT - 2) / 2)
#define TILES_ACROSS ((WIDTH - 2) / 2)
#define CELLS (TILES_DOWN * TILES_ACROSS)
#define IMAGE (HEIGHT * WIDTH * CHANNELS)
#define ROW (3 * CHANNELS) /* of a filter: three pixels, beside each other in memory */
#define WEIGHT (3 * ROW)

/* G w G' of filter f (3, 3, CHANNELS), into its column of (16, CHANNELS / PAIR, FILTERS, PAIR) */
static void transform_filter(const REAL *weight, int f, operand *out)
{
    for (int c = 0; c < CHANNELS; c++) {
        REAL half[4][3];
        for (int j = 0; j < 3; j++) {
            const REAL top = weight[j * CHANNELS + c], middle = weight[(3 + j) * CHANNELS + c],
                       bottom = weight[(6 + j) * CHANNELS + c];
            half[0][j] = top;
            half[1][j] = (top + middle + bottom) / 2;
            half[2][j] = (top - middle + bottom) / 2;
            half[3][j] = bottom;
        }
        for (int i = 0; i < 4; i++) {
            const REAL left = half[i][0], middle = half[i][1], right = half[i][2];
            const REAL row[4] = {left, (left + middle + right) / 2, (left - middle + right) / 2, right};
            for (int j = 0; j < 4; j++)
                out[((4 * i + j) * CHANNELS + c / PAIR * PAIR) * FILTERS + f * PAIR + c % PAIR] =
                    rounded(row[j]);
        }
    }
}

/* B' d B of some tiles of a row: (4, WIDTH, CHANNELS) to (16, TILE_BLOCK, CHANNELS) */
static void transform_input(const REAL *input, operand *out)
{
    for (int tile = 0; tile < TILE_BLOCK; tile++)
        for (int c = 0; c < CHANNELS; c += LANES) {
            vector half[4][4];
            for (int j = 0; j < 4; j++) {
                const REAL *column = input + (2 * tile + j) * CHANNELS + c;
                const vector d0 = GIVEN(column), d1 = GIVEN(column + WIDTH * CHANNELS),
                             d2 = GIVEN(column + 2 * WIDTH * CHANNELS),
                             d3 = GIVEN(column + 3 * WIDTH * CHANNELS);
                half[0][j] = d0 - d2;
                half[1][j] = d1 + d2;
                half[2][j] = d2 - d1;
                half[3][j] = d1 - d3;
            }
            for (int i = 0; i < 4; i++) {
                const vector *h = half[i];
                const vector row[4] = {h[0] - h[2], h[1] + h[2], h[2] - h[1], h[1] - h[3]};
                for (int j = 0; j < 4; j++)
                    round_to(out + ((4 * i + j) * TILE_BLOCK + tile) * CHANNELS + c, row[j]);
            }
        }
}

/* (TILE_BLOCK, CHANNELS) times (CHANNELS, FILTERS), the sums in registers */
static void multiply(const operand *tiles, const operand *filters, REAL *out)
{
    for (int f = 0; f < FILTERS; f += FILTER_BLOCK * LANES) {
        vector sum[TILE_BLOCK][FILTER_BLOCK] = {0};
        for (int c = 0; c < CHANNELS; c += PAIR) {
#pragma GCC unroll 8
            for (int v = 0; v < FILTER_BLOCK; v++) {
                const operand *weight = filters + c * FILTERS + (f + v * LANES) * PAIR;
#pragma GCC unroll 8
                for (int i = 0; i < TILE_BLOCK; i++)
                    sum[i][v] = multiply_add(tiles + i * CHANNELS + c, weight, sum[i][v]);
            }
        }
        for (int i = 0; i < TILE_BLOCK; i++)
            for (int v = 0; v < FILTER_BLOCK; v++)
                AT(out + i * FILTERS + f + v * LANES) = sum[i][v];
    }
}

/* A' m A of the tiles, the largest of each tile (of equals the first) and where it was; then
 * ReLU, and zero where a random byte is below the threshold, else times scale */
static void pool(const REAL *products, const REAL *bias, const uint8_t *random, int threshold,
                 REAL scale, REAL *pooled, uint8_t *winners)
{
    for (int tile = 0; tile < TILE_BLOCK; tile++)
        for (int f = 0; f < FILTERS; f += LANES) {
            const int here = tile * FILTERS + f, next = TILE_BLOCK * FILTERS;
            vector half[2][4];
            for (int j = 0; j < 4; j++) {
                const REAL *m = products + j * next + here;
                const vector m0 = GIVEN(m), m1 = GIVEN(m + 4 * next), m2 = GIVEN(m + 8 * next),
                             m3 = GIVEN(m + 12 * next);
                half[0][j] = m0 + m1 + m2;
                half[1][j] = m1 - m2 - m3;
            }
            vector best = half[0][0] + half[0][1] + half[0][2];
            mask winner = {0};
            for (int place = 1; place < 4; place++) {
                const vector *h = half[place / 2];
                const vector other = place % 2 ? h[1] - h[2] - h[3] : h[0] + h[1] + h[2];
                const mask larger = (mask)(other > best);
                best = choose(larger, other, best);
                winner = (larger & place) | (~larger & winner);
            }
            best += GIVEN(bias + f);
            /* as it is said, so that a NaN stays one */
            mask zero = (mask)(best <= 0);
            if (random)
                zero |= __builtin_convertvector(*(const bytes *)(random + here), mask) < threshold;
            AT(pooled + here) = choose(zero, (vector){0}, best * scale);
            *(bytes *)(winners + here) = __builtin_convertvector(winner, bytes);
        }
}

/* input (images, HEIGHT, WIDTH, CHANNELS), weight (FILTERS, 3, 3, CHANNELS), bias (FILTERS);
 * random: a byte for each number of pooled, or NULL for no dropout;
 * transformed: room for 16 * CHANNELS * FILTERS;
 * pooled, winners (0 to 3: the place in its window): (images, TILES_DOWN, TILES_ACROSS, FILTERS) */
void forward(const REAL *input, const REAL *weight, const REAL *bias, const uint8_t *random,
             operand *transformed, REAL *pooled, uint8_t *winners, int threshold, double scale,
             int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        operand tiles[16 * TILE_BLOCK * CHANNELS];
        REAL products[16 * TILE_BLOCK * FILTERS];
#pragma omp for schedule(static)
        for (int f = 0; f < FILTERS; f++)
            transform_filter(weight + f * WEIGHT, f, transformed);
#pragma omp for schedule(static)
        for (int row = 0; row < images * TILES_DOWN; row++)
            for (int tile = 0; tile < TILES_ACROSS; tile += TILE_BLOCK) {
                const int64_t image = row / TILES_DOWN, y = row % TILES_DOWN * 2;
                const int64_t out = ((int64_t)row * TILES_ACROSS + tile) * FILTERS;
                transform_input(input + image * IMAGE + (y * WIDTH + 2 * tile) * CHANNELS, tiles);
                for (int k = 0; k < 16; k++)
                    multiply(tiles + k * TILE_BLOCK * CHANNELS,
                             transformed + k * CHANNELS * FILTERS,
                             products + k * TILE_BLOCK * FILTERS);
                pool(products, bias, random ? random + out : 0, threshold, (REAL)scale,
                     pooled + out, winners + out);
            }
    }
}

/* By filter, the gradients of one image that are not zero, and where their patch of input begins. */
typedef struct {
    int count[FILTERS];
    int32_t patch[FILTERS][CELLS];
    REAL value[FILTERS][CELLS];
} gradients;

static void find(const REAL *gradient, const REAL *pooled, const uint8_t *winners, REAL scale,
                 gradients *found, REAL *to_bias)
{
    const int32_t offset[4] = {0, CHANNELS, WIDTH * CHANNELS, (WIDTH + 1) * CHANNELS};
    memset(found->count, 0, sizeof found->count);
    for (int cell = 0; cell < CELLS; cell++) {
        const int32_t window =
            2 * (cell / TILES_ACROSS * WIDTH + cell % TILES_ACROSS) * CHANNELS;
        const int here = cell * FILTERS;
        REAL value[FILTERS];
        for (int f = 0; f < FILTERS; f++) {
            /* a zero in the output lets nothing back */
            value[f] = pooled[here + f] == 0 ? 0 : gradient[here + f] * scale;
            to_bias[f] += value[f];
        }
        /* without a branch that nobody can predict */
        int which[FILTERS + 1], left = 0;
        for (int f = 0; f < FILTERS; f++) {
            which[left] = f;
            left += value[f] != 0;
        }
        for (int i = 0; i < left; i++) {
            const int f = which[i], n = found->count[f]++;
            found->patch[f][n] = window + offset[winners[here + f]];
            found->value[f][n] = value[f];
        }
    }
}

/* How many rows of a filter stay in registers: all three, or one at a time. */
#define VECTORS (ROW / LANES)
#define ROWS (3 * VECTORS <= REGISTERS - 4 ? 3 : 1)

static void add_to_weight(const REAL *input, REAL *to_filter, const gradients *found, int f)
{
    for (int top = 0; top < 3; top += ROWS) {
        vector sum[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = GIVEN(to_filter + (top + r) * ROW + v * LANES);
        for (int i = 0; i < found->count[f]; i++) {
            const REAL *patch = input + found->patch[f][i] + top * WIDTH * CHANNELS;
            const REAL value = found->value[f][i];
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 32
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] += value * GIVEN(patch + r * WIDTH * CHANNELS + v * LANES);
        }
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                AT(to_filter + (top + r) * ROW + v * LANES) = sum[r][v];
    }
}

static void add_to_input(const REAL *filter, REAL *to_input, const gradients *found, int f)
{
    for (int top = 0; top < 3; top += ROWS) {
        vector weight[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                weight[r][v] = GIVEN(filter + (top + r) * ROW + v * LANES);
        for (int i = 0; i < found->count[f]; i++) {
            REAL *patch = to_input + found->patch[f][i] + top * WIDTH * CHANNELS;
            const REAL value = found->value[f][i];
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 32
                for (int v = 0; v < VECTORS; v++)
                    AT(patch + r * WIDTH * CHANNELS + v * LANES) += value * weight[r][v];
        }
    }
}

/* gradient: of pooled, in its shape; scale: dropout's; partial: room for threads * FILTERS *
 * (WEIGHT + 1); to_input, to_weight, to_bias: in the shapes of input, weight and bias. */
void backward(const REAL *input, const REAL *weight, const REAL *gradient, const REAL *pooled,
              const uint8_t *winners, REAL *partial, REAL *to_input, REAL *to_weight, REAL *to_bias,
              double scale, int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t each = FILTERS * (WEIGHT + 1);
        REAL *mine = partial + me * each;
        gradients found;
        memset(mine, 0, sizeof(REAL) * each);
        for (int64_t image = images * me / all; image < images * (me + 1) / all; image++) {
            const int64_t cells = image * CELLS * FILTERS;
            const REAL *x = input + image * IMAGE;
            REAL *to_x = to_input + image * IMAGE;
            find(gradient + cells, pooled + cells, winners + cells, (REAL)scale, &found,
                 mine + FILTERS * WEIGHT);
            memset(to_x, 0, sizeof(REAL) * IMAGE);
            for (int f = 0; f < FILTERS; f++) {
                add_to_weight(x, mine + f * WEIGHT, &found, f);
                add_to_input(weight + f * WEIGHT, to_x, &found, f);
            }
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int i = 0; i < FILTERS * (WEIGHT + 1); i++) {
            REAL sum = 0;
            for (int thread = 0; thread < all; thread++)
                sum += partial[thread * each + i];
            *(i < FILTERS * WEIGHT ? to_weight + i : to_bias + i - FILTERS * WEIGHT) = sum;
        }
    }
}
