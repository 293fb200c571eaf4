/* What the linear layers do with the weights of one feature, or the gradients of one image: rows of
 * units. */
#define CHUNK 64              /* features at a time: their weights stay in the nearest caches */
#define BLOCK (REGISTERS / 4) /* vectors of units at a time */
#define WIDE (BLOCK * LANES)

#ifdef BFLOAT16
/* 32 numbers of a row, rounded, in the order in which unpacking two rows makes pairs of neighbours */
static inline __m512i round_row(const float *from)
{
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    const __m512i rounded =
        (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
    return _mm512_permutexvar_epi64(order, rounded);
}

static const pixel *narrow(const float *from, int rows, pixel *to)
{
    for (int i = 0; i < rows * UNITS; i += 32)
        _mm512_storeu_si512(to + i, round_row(from + i));
    return to;
}

static inline __m512i both(pixel one, pixel two)
{
    return _mm512_set1_epi32((int)(one | (uint32_t)two << 16));
}

/* to 32 sums the products of two rows */
static inline void add_two(vector sum[2], __m512i one, __m512i two, __m512i values)
{
    sum[0] = (vector)add_products((__m512)sum[0], _mm512_unpacklo_epi16(one, two), values);
    sum[1] = (vector)add_products((__m512)sum[1], _mm512_unpackhi_epi16(one, two), values);
}

/* y (WIDE): what the features `which` of x add to it, by their weights w (CHUNK, UNITS) */
static inline void add_rows(const pixel *w, const pixel *x, const int *which, int count, REAL *y)
{
    vector sum[BLOCK];
    for (int v = 0; v < BLOCK; v++)
        sum[v] = GIVEN(y + v * LANES);
    for (int i = 0; i < count; i += 2) {
        const int two = i + 1 < count, a = which[i], b = which[i + two];
        const __m512i values = both(x[a], two ? x[b] : 0);
#pragma GCC unroll 8
        for (int v = 0; v < BLOCK; v += 2)
            add_two(sum + v, _mm512_loadu_si512(w + a * UNITS + v * LANES),
                    _mm512_loadu_si512(w + b * UNITS + v * LANES), values);
    }
    for (int v = 0; v < BLOCK; v++)
        AT(y + v * LANES) = sum[v];
}

/* One feature, WIDE units. image (count): whose numbers are not zero; x (images, CHUNK): all of them;
 * weight (WIDE), gradient (images, UNITS); to_x, in the shape of x: the gradient is added to it;
 * to_weight (WIDE) */
static inline void pass_back(const pixel *x, const int *image, int count, const float *weight,
                             const pixel *gradient, float *to_x, float *to_weight)
{
    __m512i w[BLOCK / 2];
    vector sum[BLOCK];
    for (int v = 0; v < BLOCK; v++)
        sum[v] = (vector){0};
    for (int v = 0; v < BLOCK; v += 2)
        w[v / 2] = round_row(weight + v * LANES);
    for (int n = 0; n < count; n += 2) {
        const int two = n + 1 < count, a = image[n], b = image[n + two];
        const __m512i values = both(x[a * CHUNK], two ? x[b * CHUNK] : 0);
        __m512 to_a = _mm512_setzero_ps(), to_b = _mm512_setzero_ps();
#pragma GCC unroll 8
        for (int v = 0; v < BLOCK; v += 2) {
            const __m512i one = _mm512_loadu_si512(gradient + a * UNITS + v * LANES),
                          other = _mm512_loadu_si512(gradient + b * UNITS + v * LANES);
            add_two(sum + v, one, other, values);
            to_a = add_products(to_a, one, w[v / 2]);
            to_b = add_products(to_b, other, w[v / 2]);
        }
        to_x[a * CHUNK] += total((vector)to_a);
        if (two)
            to_x[b * CHUNK] += total((vector)to_b);
    }
    for (int v = 0; v < BLOCK; v++)
        AT(to_weight + v * LANES) = sum[v];
}
#else
static inline const pixel *narrow(const REAL *from, int rows, pixel *to)
{
    (void)rows, (void)to;
    return from;
}

/* y (WIDE): what the features `which` of x add to it, by their weights w (CHUNK, UNITS) */
static inline void add_rows(const pixel *w, const pixel *x, const int *which, int count, REAL *y)
{
    vector sum[BLOCK];
    for (int v = 0; v < BLOCK; v++)
        sum[v] = GIVEN(y + v * LANES);
    for (int i = 0; i < count; i++) {
        const pixel *row = w + which[i] * UNITS;
        const REAL value = x[which[i]];
#pragma GCC unroll 8
        for (int v = 0; v < BLOCK; v++)
            sum[v] += value * GIVEN(row + v * LANES);
    }
    for (int v = 0; v < BLOCK; v++)
        AT(y + v * LANES) = sum[v];
}

/* One feature, WIDE units. image (count): whose numbers are not zero; x (images, CHUNK): all of them;
 * weight (WIDE), gradient (images, UNITS); to_x, in the shape of x: the gradient is added to it;
 * to_weight (WIDE) */
static inline void pass_back(const pixel *x, const int *image, int count, const REAL *weight,
                             const pixel *gradient, REAL *to_x, REAL *to_weight)
{
    vector w[BLOCK], sum[BLOCK];
    for (int v = 0; v < BLOCK; v++) {
        w[v] = GIVEN(weight + v * LANES);
        sum[v] = (vector){0};
    }
    for (int n = 0; n < count; n++) {
        const REAL *g = gradient + image[n] * UNITS;
        const REAL value = x[image[n] * CHUNK];
        vector even = {0}, odd = {0};
#pragma GCC unroll 8
        for (int v = 0; v < BLOCK; v += 2) {
            const vector one = GIVEN(g + v * LANES), two = GIVEN(g + (v + 1) * LANES);
            sum[v] += value * one;
            sum[v + 1] += value * two;
            even += one * w[v];
            odd += two * w[v + 1];
        }
        to_x[image[n] * CHUNK] += total(even + odd);
    }
    for (int v = 0; v < BLOCK; v++)
        AT(to_weight + v * LANES) = sum[v];
}
#endif
