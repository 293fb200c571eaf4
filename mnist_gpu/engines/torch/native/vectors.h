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
