/* The two passes of the `blend` fusion over some cells, written once for all levels, which include it after their
   vectors. */
#include "blend.h"

#include <math.h>

typedef struct {
    int64_t image, first, end; /* cells of all images, numbered one after the other */
} Stretch;

static inline Stretch stretch_of(const BlendPlan *plan, int64_t task)
{
    const Blend *call = plan->call;
    int64_t image = task / plan->tasks, first = image * call->cells + task % plan->tasks * CELLS_PER_TASK;
    return (Stretch){image, first, least((image + 1) * call->cells, first + CELLS_PER_TASK)};
}

static inline float read_number(const char *from, int64_t index, const int half)
{
    return half ? from_half(((const uint16_t *)from)[index]) : ((const float *)from)[index];
}

TARGET INLINE vec read_numbers(const char *from, int64_t index, const int half)
{
    float numbers[LANES];
    UNROLLED for (int i = 0; i < LANES; i++) numbers[i] = read_number(from, index + i, half);
    return load(numbers);
}

/* How far the features of each cell move, relative to their size, and the gate's logit without that. */
TARGET INLINE void measure(const BlendPlan *plan, int64_t task, const int half)
{
    const Blend *call = plan->call;
    const Stretch stretch = stretch_of(plan, task);
    const int64_t channels = call->channels;
    const float *of_features = call->weights, *of_move = call->weights + channels;
    double sum = 0.0;
    for (int64_t cell = stretch.first; cell < stretch.end; cell++) {
        vec lengths = broadcast(0.0f), sizes = lengths, gates = lengths;
        int64_t c = 0, at = cell * channels;
        for (; c + LANES <= channels; c += LANES) {
            vec feature = read_numbers(call->features, at + c, half);
            vec move = sub(read_numbers(call->attended, at + c, half), feature);
            lengths = fma_(move, move, lengths);
            sizes = fma_(feature, feature, sizes);
            gates = fma_(feature, load(of_features + c), fma_(move, load(of_move + c), gates));
        }
        float length = total_of(lengths), size = total_of(sizes), gate = total_of(gates);
        for (; c < channels; c++) {
            float feature = read_number(call->features, at + c, half);
            float move = read_number(call->attended, at + c, half) - feature;
            length += move * move;
            size += feature * feature;
            gate += feature * of_features[c] + move * of_move[c];
        }
        plan->distance[cell] = length / fmaxf(size, call->smallest);
        plan->gate[cell] = gate + call->bias;
        sum += plan->distance[cell];
    }
    plan->sums[task] = sum;
}

TARGET INLINE void mix(const BlendPlan *plan, int64_t task, const int half)
{
    const Blend *call = plan->call;
    const Stretch stretch = stretch_of(plan, task);
    const char *features = call->features, *attended = call->attended;
    char *out = call->out;
    double sum = 0.0;
    for (int64_t i = 0; i < plan->tasks; i++) sum += plan->sums[stretch.image * plan->tasks + i];
    const float usual = (float)(sum / (double)call->cells) + call->still;
    for (int64_t cell = stretch.first; cell < stretch.end; cell++) {
        const float logit = plan->gate[cell] - call->closing * (plan->distance[cell] / usual);
        const float share = 1.0f / (1.0f + expf(-logit));
        for (int64_t i = cell * call->channels, end = i + call->channels; i < end; i++) {
            float feature = read_number(features, i, half);
            float mixed = feature + share * (read_number(attended, i, half) - feature);
            if (half)
                ((uint16_t *)out)[i] = to_half(mixed);
            else
                ((float *)out)[i] = mixed;
        }
    }
}

TARGET static void measure_task(const BlendPlan *plan, int64_t task)
{
    if (plan->call->half)
        measure(plan, task, 1);
    else
        measure(plan, task, 0);
}

TARGET static void mix_task(const BlendPlan *plan, int64_t task)
{
    if (plan->call->half)
        mix(plan, task, 1);
    else
        mix(plan, task, 0);
}
