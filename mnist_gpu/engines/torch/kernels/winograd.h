/* The forward pass of `pooled_convolution.c`, for TILE_BLOCK tiles at a time: Winograd's transforms, the
 * products, and what follows them. */
#define FILTER_BLOCK (VECTOR_BYTES == 32 ? 2 : 4)

/* What is multiplied: numbers as images are; of bfloat16 the two of a pair of channels at once. */
#ifdef BFLOAT16
#define PAIR 2
static inline pixel rounded(REAL value)
{
    return (pixel)_mm_cvtsi128_si32((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)));
}
static inline vector multiply_add(const pixel *left, const pixel *right, vector sum)
{
    return (vector)add_products((__m512)sum, both_of(left), _mm512_loadu_si512(right));
}
#else
#define PAIR 1
static inline pixel rounded(REAL value)
{
    return value;
}
static inline vector multiply_add(const pixel *left, const pixel *right, vector sum)
{
    return sum + *left * GIVEN(right);
}
#endif

/* G w G' of filter f (3, 3, CHANNELS), into its column of (16, CHANNELS / PAIR, FILTERS, PAIR) */
static void transform_filter(const REAL *weight, int f, pixel *out)
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

/* B' d of one column of some tiles: of (4, WIDTH, CHANNELS), LANES channels */
static inline void transform_column(const pixel *column, vector out[4])
{
    const vector d0 = read_pixels(column), d1 = read_pixels(column + WIDTH * CHANNELS),
                 d2 = read_pixels(column + 2 * WIDTH * CHANNELS),
                 d3 = read_pixels(column + 3 * WIDTH * CHANNELS);
    out[0] = d0 - d2;
    out[1] = d1 + d2;
    out[2] = d2 - d1;
    out[3] = d1 - d3;
}

/* B' d B of some tiles of a row: (4, WIDTH, CHANNELS) to (16, TILE_BLOCK, CHANNELS) */
static void transform_input(const pixel *input, pixel *out)
{
    for (int c = 0; c < CHANNELS; c += LANES) {
        vector column[4][4];
        transform_column(input + c, column[0]);
        transform_column(input + CHANNELS + c, column[1]);
        for (int tile = 0; tile < TILE_BLOCK; tile++) {
            transform_column(input + (2 * tile + 2) * CHANNELS + c, column[2]);
            transform_column(input + (2 * tile + 3) * CHANNELS + c, column[3]);
            for (int i = 0; i < 4; i++) {
                const vector h0 = column[0][i], h1 = column[1][i], h2 = column[2][i],
                             h3 = column[3][i];
                const vector row[4] = {h0 - h2, h1 + h2, h2 - h1, h1 - h3};
                for (int j = 0; j < 4; j++)
                    write_pixels(out + ((4 * i + j) * TILE_BLOCK + tile) * CHANNELS + c, row[j]);
                /* the next tile begins with the last two columns of this one */
                column[0][i] = h2;
                column[1][i] = h3;
            }
        }
    }
}

/* (TILE_BLOCK, CHANNELS) times (CHANNELS, FILTERS), the sums in registers */
static void multiply(const pixel *tiles, const pixel *filters, REAL *out)
{
    for (int f = 0; f < FILTERS; f += FILTER_BLOCK * LANES) {
        vector sum[TILE_BLOCK][FILTER_BLOCK] = {0};
        for (int c = 0; c < CHANNELS; c += PAIR) {
#pragma GCC unroll 8
            for (int v = 0; v < FILTER_BLOCK; v++) {
                const pixel *weight = filters + c * FILTERS + (f + v * LANES) * PAIR;
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
 * ReLU, and dropout by the bits of kept, from number `at` on */
static void pool(const REAL *products, const REAL *bias, const uint8_t *kept, int64_t at,
                 REAL scale, pixel *pooled, uint8_t *winners)
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
            if (kept)
                zero |= dropped(kept, at + here);
            write_pixels(pooled + at + here, choose(zero, (vector){0}, best * scale));
            winner |= zero & NOBODY;
            *(bytes *)(winners + at + here) = __builtin_convertvector(winner, bytes);
        }
}
