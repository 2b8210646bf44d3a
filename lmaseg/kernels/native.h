/* What the sources of the library share: the calls as Python fills them in, levels of instructions, and threads. */
#ifndef LMASEG_NATIVE_H
#define LMASEG_NATIVE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* -DPORTABLE builds what an unknown compiler on an unknown processor gets, to test it anywhere. */
#if defined(__GNUC__) && !defined(PORTABLE)
#define HAVE_VECTORS 1
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")
#ifdef __x86_64__
#define HAVE_X86 1
#endif
#else
#define INLINE static inline
#define UNROLLED
#endif

/* Raised whenever a structure or a signature below changes, so that a stale library is never called. */
#define ABI_VERSION 2

enum { LEVEL_GENERIC, LEVEL_AVX2, LEVEL_AVX512, LEVEL_AVX512_BF16 };

typedef struct {
    void (*run)(const void *context, void *scratch, int64_t index);
    const void *context;
    int64_t count;  /* tasks, numbered from 0 */
    size_t scratch; /* bytes each thread gets, aligned to a cache line */
} Tasks;

/* Runs every task; false when memory for not even one thread's scratch was found. */
int run_tasks(const Tasks *tasks, int threads);

/* Memory aligned to a cache line, to be handed back to release(); NULL when there is none. */
void *acquire(size_t bytes);
void release(void *memory);

/* Local attention. Strides are in bytes, in the order of the shapes; the output is written channels last, dense. */
typedef struct {
    const char *query, *keys, *values;
    char *out;
    int64_t query_strides[4];  /* (B, C, H, W) */
    int64_t keys_strides[5];   /* (B, T, C, H, W) */
    int64_t values_strides[5]; /* (B, T, D, H, W) */
    int64_t batch, frames, channels, depth, height, width, window;
    int64_t half; /* 1: bfloat16, 0: float32 */
} Attention;

/* Bilinear interpolation and argmax. The labels (B, height, width) are dense. */
typedef struct {
    const char *logits;
    uint8_t *labels;
    int64_t strides[4]; /* of (B, classes, rows, columns), in bytes */
    int64_t batch, classes, rows, columns, height, width;
    int64_t half, align_corners;
} Upsample;

/* Numbers to bytes: number * factor + shift, cut off behind the point, at least 0 and at most 255. All are dense. */
typedef struct {
    const char *from;
    uint8_t *to;
    int64_t count, half;
    float factor, shift;
} Quantize;

/* Bilinear interpolation of bytes (B, rows, columns, channels) to (B, height, width, channels), both dense. */
typedef struct {
    const uint8_t *from;
    uint8_t *to;
    int64_t batch, channels, rows, columns, height, width, align_corners;
} Resize;

/* The `blend` fusion of features with attended ones, (B, cells, channels) each, dense as the output is. */
typedef struct {
    const char *features, *attended;
    char *out;
    const float *weights; /* (2 * channels): the gate's of the features, then of the move */
    int64_t batch, cells, channels, half;
    float bias, closing, still, smallest;
} Blend;

static inline float from_half(uint16_t bits)
{
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline uint16_t to_half(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    if ((word & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
    return (uint16_t)((word + 0x7fffu + (word >> 16 & 1u)) >> 16); /* to nearest, ties to even */
}

static inline float read_cell(const char *cell, int64_t half)
{
    if (!half) {
        float value;
        memcpy(&value, cell, sizeof value);
        return value;
    }
    uint16_t bits;
    memcpy(&bits, cell, sizeof bits);
    return from_half(bits);
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

#endif
