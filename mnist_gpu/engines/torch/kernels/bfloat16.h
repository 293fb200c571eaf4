/* The processor's instructions for bfloat16 (AVX512_BF16). */
#ifndef __AVX512BF16__
#error "no instructions for bfloat16 (AVX512_BF16)"
#endif
#include <immintrin.h>
#include <stdint.h>

typedef uint16_t bfloat16;
typedef uint32_t two_bfloat16 __attribute__((aligned(2), may_alias));

/* 16 times the two numbers at pair */
static inline __m512i both_of(const bfloat16 *pair)
{
    return _mm512_set1_epi32(*(const two_bfloat16 *)pair);
}

/* to each of 16 sums the two products of its pair */
static inline __m512 add_products(__m512 sum, __m512i left, __m512i right)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right);
}
