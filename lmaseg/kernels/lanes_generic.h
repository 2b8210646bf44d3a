/* Vectors for any processor: four floats in the compiler's own vectors, or one where it has none. */
#include "native.h"

#define TARGET

#ifdef HAVE_VECTORS
#define LANES 4
typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
#else
#define LANES 1
typedef float vec;
typedef int32_t ivec;
#endif
typedef ivec vmask; /* all ones or all zeros in a lane */

static inline vec load(const float *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, vec v) { memcpy(to, &v, sizeof v); }

static inline vec broadcast(float value)
{
#if LANES == 1
    return value;
#else
    return (vec){value, value, value, value};
#endif
}

static inline vec add(vec a, vec b) { return a + b; }
static inline vec sub(vec a, vec b) { return a - b; }
static inline vec mul(vec a, vec b) { return a * b; }
static inline vec fma_(vec a, vec b, vec c) { return a * b + c; }

#if LANES == 1
static inline vmask above(vec a, vec b) { return a > b ? -1 : 0; }
static inline ivec ibroadcast(int32_t value) { return value; }
#else
static inline vmask above(vec a, vec b) { return a > b; }
static inline ivec ibroadcast(int32_t value) { return (ivec){value, value, value, value}; }
#endif

static inline ivec choose(vmask where, ivec a, ivec b) { return (a & where) | (b & ~where); }

/* b where either is not a number */
static inline vec greater(vec a, vec b)
{
    ivec bits_a, bits_b;
    memcpy(&bits_a, &a, sizeof a);
    memcpy(&bits_b, &b, sizeof b);
    ivec bits = choose(above(a, b), bits_a, bits_b);
    memcpy(&a, &bits, sizeof a);
    return a;
}

static inline float lane(vec v, int i)
{
    float values[LANES];
    store(values, v);
    return values[i];
}

static inline float highest(vec v)
{
    float best = lane(v, 0);
    for (int i = 1; i < LANES; i++)
        if (lane(v, i) > best) best = lane(v, i);
    return best;
}

static inline float total_of(vec v)
{
    float total = 0;
    for (int i = 0; i < LANES; i++) total += lane(v, i);
    return total;
}

#include "exponential.h"

/* e^x for x <= 0, exactly 0 under 2^-126 */
static inline vec exponential(vec x)
{
    float t[LANES], power[LANES];
    store(t, mul(x, broadcast(1.44269504f)));
    for (int i = 0; i < LANES; i++) {
        int32_t n = t[i] > -126.0f && t[i] <= 0.0f ? (int32_t)t[i] : 0; /* NaN goes through the polynomial */
        n -= (float)n > t[i] && t[i] > -126.0f;
        uint32_t bits = t[i] <= -126.0f ? 0 : (uint32_t)(n + 127) << 23;
        t[i] = t[i] <= -126.0f ? 0.0f : t[i] - (float)n;
        memcpy(&power[i], &bits, sizeof bits);
    }
    return mul(two_to(load(t)), load(power));
}
