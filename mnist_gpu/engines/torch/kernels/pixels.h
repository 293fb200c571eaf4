/* What images are in memory: REAL, or bfloat16 where BFLOAT16 is defined (and REAL is float). */
#ifdef BFLOAT16
#include "bfloat16.h"
typedef bfloat16 pixel;
static inline vector read_pixels(const pixel *from)
{
    const __m256i narrow = _mm256_loadu_si256((const __m256i_u *)from);
    return (vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16);
}
static inline void write_pixels(pixel *to, vector value)
{
    _mm256_storeu_si256((__m256i_u *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
#else
typedef REAL pixel;
static inline vector read_pixels(const pixel *from)
{
    return GIVEN(from);
}
static inline void write_pixels(pixel *to, vector value)
{
    AT(to) = value;
}
#endif
