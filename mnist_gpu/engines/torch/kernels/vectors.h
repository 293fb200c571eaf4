/* Vectors of REAL, as wide as the processor has them. INTEGER is as wide as REAL. */
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#define REGISTERS 32
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define REGISTERS 16
#else
#define VECTOR_BYTES 16
#define REGISTERS 32
#endif

/* aligned as its elements are: tensors may begin anywhere */
typedef REAL vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL)), aligned(1), may_alias));
typedef INTEGER mask __attribute__((vector_size(VECTOR_BYTES)));
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define AT(pointer) (*(vector *)(pointer))
#define GIVEN(pointer) (*(const vector *)(pointer))

static inline vector choose(mask which, vector yes, vector no)
{
    return (vector)((which & (mask)yes) | (~which & (mask)no));
}

/* a value where a ReLU's output is positive, else 0; as it is said, so that a NaN stays one */
static inline vector rectified(vector output, vector value)
{
    return choose((mask)(output <= 0), (vector){0}, value);
}

/* the sum of its numbers */
static inline REAL total(vector v)
{
#if defined(__AVX512F__)
    if (sizeof(REAL) == 4)
        return _mm512_reduce_add_ps((__m512)v);
#endif
    REAL sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += v[i];
    return sum;
}

/* whether each of LANES numbers is dropped: a bit that is 0 in kept, from number `here` on */
static inline mask dropped(const uint8_t *kept, int64_t here)
{
    mask lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = 1 << i;
    const INTEGER bits = LANES == 16 ? kept[here / 8] | kept[here / 8 + 1] << 8
                                     : kept[here / 8] >> here % 8;
    return (mask)((bits & lane) == 0);
}
