/* Which numbers are not zero: their places, without a branch that nobody can predict. They are
 * written 16 at a time: `which` has room for SPARE more than there are numbers. */
#define SPARE 16

#if defined(__AVX512F__)
static inline __mmask16 bits_of_16(const float *value)
{
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(value), _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

/* the places, counted from `first`, of the bits of `some`; how many they are */
static inline int list_bits(__mmask16 some, int first, int *which)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i place = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
    _mm512_storeu_si512(which, _mm512_maskz_compress_epi32(some, place));
    return __builtin_popcount(some);
}
#endif

/* of n numbers, a multiple of 16: the places of those that are not zero */
static inline int list(const REAL *value, int n, int *which)
{
    int left = 0;
#if defined(__AVX512F__)
    if (sizeof(REAL) == 4) {
        for (int i = 0; i < n; i += 16)
            left += list_bits(bits_of_16((const float *)value + i), i, which + left);
        return left;
    }
#endif
    for (int i = 0; i < n; i++) {
        which[left] = i;
        left += value[i] != 0;
    }
    return left;
}

/* 64 pixels as bits: 1 where one is not zero */
static inline uint64_t bits_of(const pixel *value)
{
    uint64_t bits = 0;
#if defined(BFLOAT16)
    for (int i = 0; i < 64; i += 32) {
        const __m512i some = _mm512_loadu_si512(value + i);
        bits |= (uint64_t)_mm512_cmpneq_epi16_mask(some, _mm512_setzero_si512()) << i;
    }
    return bits;
#elif defined(__AVX512F__)
    if (sizeof(REAL) == 4) {
        for (int i = 0; i < 64; i += 16)
            bits |= (uint64_t)bits_of_16((const float *)value + i) << i;
        return bits;
    }
#endif
    for (int i = 0; i < 64; i++)
        bits |= (uint64_t)(value[i] != 0) << i;
    return bits;
}

/* the places of the bits, counted from `first`; how many they are */
static inline int list_of(uint64_t bits, int first, int *which)
{
    int left = 0;
#if defined(__AVX512F__)
    for (int i = 0; i < 64; i += 16)
        left += list_bits((__mmask16)(bits >> i), first + i, which + left);
#else
    for (; bits; bits &= bits - 1)
        which[left++] = first + __builtin_ctzll(bits);
#endif
    return left;
}

/* row and column change places (Warren, Hacker's Delight, 7-3) */
static inline void transpose(uint64_t bits[64])
{
    uint64_t low = 0xffffffff;
    for (int half = 32; half; half /= 2, low ^= low << half)
        for (int row = 0; row < 64; row = ((row | half) + 1) & ~half) {
            const uint64_t other = (bits[row] >> half ^ bits[row | half]) & low;
            bits[row] ^= other << half;
            bits[row | half] ^= other;
        }
}
