/* A fully connected layer whose products are of bfloat16 and whose sums are of float32, forward and
 * backward. Weights stay in float32 and are rounded on the way into the caches: a copy in bfloat16
 * would cost as much as half of the products.
 *
 * Needs AVX512_BF16, whose one instruction multiplies 16 pairs and adds both products to 16 sums.
 * The compiler gets FEATURES (a multiple of 64) and UNITS (a multiple of 4).
 */
#include <omp.h>
#include <string.h>

#include "bfloat16.h"

#define TILE 4     /* rows of each operand whose sums are in registers */
#define CHUNK 64   /* features at a time, TILE vectors of float */
#define SEGMENT (FEATURES % 1024 ? CHUNK : 1024) /* features whose weights stay in the first cache */

static inline __m512i round_two(const float *low, const float *high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low));
}

/* sums (rows, TILE) of vectors: products of x (rows, FEATURES) and w (TILE, SEGMENT) */
static inline __attribute__((always_inline)) void multiply_along(const bfloat16 *x,
                                                                 const bfloat16 *w, float *sums,
                                                                 const int rows)
{
    __m512 sum[TILE][TILE];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++)
            sum[i][j] = _mm512_loadu_ps(sums + (i * TILE + j) * 16);
    for (int k = 0; k < SEGMENT; k += 32)
#pragma GCC unroll 4
        for (int j = 0; j < TILE; j++) {
            const __m512i right = _mm512_loadu_si512(w + j * SEGMENT + k);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
                sum[i][j] = add_products(sum[i][j], _mm512_loadu_si512(x + i * FEATURES + k), right);
        }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++)
            _mm512_storeu_ps(sums + (i * TILE + j) * 16, sum[i][j]);
}

/* input (images, FEATURES), weight (UNITS, FEATURES), bias (UNITS); room: for threads * images *
 * TILE * 16; output (images, UNITS) */
void forward(const bfloat16 *input, const float *weight, const float *bias, float *room,
             float *output, int images, int threads)
{
    const int whole = images / TILE * TILE;
#pragma omp parallel num_threads(threads)
    {
        float *sums = room + (int64_t)omp_get_thread_num() * images * TILE * 16;
        bfloat16 rounded[TILE * SEGMENT];
#pragma omp for schedule(static)
        for (int unit = 0; unit < UNITS; unit += TILE) {
            memset(sums, 0, sizeof(float) * images * TILE * 16);
            for (int k = 0; k < FEATURES; k += SEGMENT) {
                for (int j = 0; j < TILE; j++)
                    for (int i = 0; i < SEGMENT; i += 32) {
                        const float *w = weight + (int64_t)(unit + j) * FEATURES + k + i;
                        _mm512_storeu_si512(rounded + j * SEGMENT + i, round_two(w, w + 16));
                    }
                const bfloat16 *x = input + k;
                for (int image = 0; image < whole; image += TILE)
                    multiply_along(x + (int64_t)image * FEATURES, rounded,
                                   sums + image * TILE * 16, TILE);
                for (int image = whole; image < images; image++)
                    multiply_along(x + (int64_t)image * FEATURES, rounded,
                                   sums + image * TILE * 16, 1);
            }
            for (int i = 0; i < images * TILE; i++)
                output[i / TILE * UNITS + unit + i % TILE] =
                    bias[unit + i % TILE] + _mm512_reduce_add_ps(_mm512_loadu_ps(sums + i * 16));
        }
    }
}

/* out (rows, FEATURES), CHUNK of it: left (rows, pairs) times right (pairs, CHUNK, 2) */
static inline __attribute__((always_inline)) void multiply_across(const bfloat16 *left,
                                                                  const bfloat16 *right, int pairs,
                                                                  float *out, const int rows)
{
    __m512 sum[TILE][TILE];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++)
            sum[i][j] = _mm512_setzero_ps();
    for (int pair = 0; pair < pairs; pair++)
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const __m512i value = both_of(left + 2 * (i * pairs + pair));
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++)
                sum[i][j] = add_products(
                    sum[i][j], value, _mm512_loadu_si512(right + (pair * TILE + j) * 32));
        }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++)
            _mm512_storeu_ps(out + (int64_t)i * FEATURES + j * 16, sum[i][j]);
}

static void multiply_rows(const bfloat16 *left, const bfloat16 *right, int pairs, float *out,
                          int rows)
{
    int row = 0;
    for (; row + TILE <= rows; row += TILE)
        multiply_across(left + 2 * row * pairs, right, pairs, out + (int64_t)row * FEATURES, TILE);
    for (; row < rows; row++)
        multiply_across(left + 2 * row * pairs, right, pairs, out + (int64_t)row * FEATURES, 1);
}

/* left[0] right[0] left[1] right[1] ..., as the instruction takes pairs */
static void interleave(const bfloat16 *left, const bfloat16 *right, bfloat16 *out)
{
    for (int i = 0; i < CHUNK; i++) {
        out[2 * i] = left[i];
        out[2 * i + 1] = right ? right[i] : 0;
    }
}

/* gradient (images, UNITS) of output, and its transpose (UNITS, images rounded up to even);
 * room: for threads * (images + 1) * CHUNK; to_input, to_weight: in the shapes of input and weight */
void backward(const bfloat16 *input, const float *weight, const bfloat16 *gradient,
              const bfloat16 *transpose, bfloat16 *room, float *to_input, float *to_weight,
              int images, int threads)
{
    const int pairs = (images + 1) / 2;
#pragma omp parallel num_threads(threads)
    {
        bfloat16 weights[UNITS * CHUNK], row[2][CHUNK];
        bfloat16 *inputs = room + (int64_t)omp_get_thread_num() * (images + 1) * CHUNK;
#pragma omp for schedule(static)
        for (int k = 0; k < FEATURES; k += CHUNK) {
            for (int unit = 0; unit < UNITS; unit += 2) {
                for (int i = 0; i < 2 * CHUNK; i += 32) {
                    const float *w = weight + (int64_t)(unit + i / CHUNK) * FEATURES + k + i % CHUNK;
                    _mm512_storeu_si512(row[0] + i, round_two(w, w + 16));
                }
                interleave(row[0], row[1], weights + unit * CHUNK);
            }
            multiply_rows(gradient, weights, UNITS / 2, to_input + k, images);
            for (int pair = 0; pair < pairs; pair++) {
                const bfloat16 *x = input + (int64_t)2 * pair * FEATURES + k;
                interleave(x, 2 * pair + 1 < images ? x + FEATURES : 0, inputs + 2 * pair * CHUNK);
            }
            multiply_rows(transpose, inputs, pairs, to_weight + k, UNITS);
        }
    }
}
