/* The backward pass of `pooled_convolution.c` for some cells (of the pooled image): lists of the
 * gradients that are not zero, and their products. */

/* By filter, the gradients that are not zero, and where in the image their patch begins; with room
 * to read a vector from the last on. */
typedef struct {
    int count[FILTERS];
    int32_t patch[FILTERS][CELLS + 1];
    REAL value[FILTERS][CELLS + LANES];
} gradients;

/* gradient, winners (CELLS, FILTERS); to_bias: each filter's gradients are added to it */
static void find(const pixel *gradient, const uint8_t *winners, REAL scale, int first, int end,
                 gradients *found, REAL *to_bias)
{
    const int32_t offset[NOBODY] = {0, CHANNELS, WIDTH * CHANNELS, (WIDTH + 1) * CHANNELS};
    memset(found->count, 0, sizeof found->count);
    for (int cell = first; cell < end; cell++) {
        const int32_t window = 2 * (cell / TILES_ACROSS * WIDTH + cell % TILES_ACROSS) * CHANNELS;
        const int here = cell * FILTERS;
        REAL value[FILTERS];
        for (int f = 0; f < FILTERS; f += LANES)
            AT(value + f) = read_pixels(gradient + here + f) * scale;
        for (int f = 0; f < FILTERS; f++) {
            value[f] = winners[here + f] < NOBODY ? value[f] : 0;
            to_bias[f] += value[f];
        }
        int which[FILTERS + SPARE];
        const int left = list(value, FILTERS, which);
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

#ifdef BFLOAT16
/* Two patches at a time, so that sums are of channels in the order of the instruction that pairs
 * them; `stored` says where a channel's is. */
static void add_to_weight(const pixel *input, REAL *to_filter, gradients *found, int f)
{
    const int count = found->count[f];
    pixel values[CELLS + LANES];
    if (count % 2) {
        found->patch[f][count] = found->patch[f][0];
        found->value[f][count] = 0;
    }
    for (int i = 0; i < count; i += LANES)
        write_pixels(values + i, GIVEN(found->value[f] + i));
    for (int top = 0; top < 3; top += ROWS) {
        vector sum[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = GIVEN(to_filter + (top + r) * ROW + v * LANES);
        for (int i = 0; i < count; i += 2) {
            const pixel *one = input + found->patch[f][i] + top * WIDTH * CHANNELS;
            const pixel *two = input + found->patch[f][i + 1] + top * WIDTH * CHANNELS;
            const __m512i pair = both_of(values + i);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                for (int v = 0; v < VECTORS; v += 2) {
                    const int at = r * WIDTH * CHANNELS + v * LANES;
                    const __m512i left = _mm512_loadu_si512(one + at),
                                  right = _mm512_loadu_si512(two + at);
                    const __m512i low = _mm512_unpacklo_epi16(left, right),
                                  high = _mm512_unpackhi_epi16(left, right);
                    sum[r][v] = (vector)add_products((__m512)sum[r][v], low, pair);
                    sum[r][v + 1] = (vector)add_products((__m512)sum[r][v + 1], high, pair);
                }
        }
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                AT(to_filter + (top + r) * ROW + v * LANES) = sum[r][v];
    }
}

static inline int stored(int i)
{
    return i / 32 * 32 + i % 8 / 4 * 16 + i % 32 / 8 * 4 + i % 4;
}
#else
static void add_to_weight(const pixel *input, REAL *to_filter, const gradients *found, int f)
{
    for (int top = 0; top < 3; top += ROWS) {
        vector sum[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = GIVEN(to_filter + (top + r) * ROW + v * LANES);
        for (int i = 0; i < found->count[f]; i++) {
            const pixel *patch = input + found->patch[f][i] + top * WIDTH * CHANNELS;
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

static inline int stored(int i)
{
    return i;
}
#endif

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
