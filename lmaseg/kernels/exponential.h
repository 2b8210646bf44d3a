/* 2^f for f in 0 .. 1, once a level has its vectors: the minimax polynomial, 8e-8 relative. */
TARGET static inline vec two_to(vec f)
{
    vec p = fma_(f, broadcast(1.8775767e-3f), broadcast(8.9893397e-3f));
    p = fma_(f, p, broadcast(5.5826318e-2f));
    p = fma_(f, p, broadcast(2.4015361e-1f));
    p = fma_(f, p, broadcast(6.9315308e-1f));
    return fma_(f, p, broadcast(9.9999994e-1f));
}

/* The same to 8e-5, for weights that are rounded to bfloat16 (4e-3) anyway. */
TARGET static inline vec two_to_roughly(vec f)
{
    vec p = fma_(f, broadcast(7.8024521e-2f), broadcast(2.2606716e-1f));
    p = fma_(f, p, broadcast(6.9583356e-1f));
    return fma_(f, p, broadcast(9.9992520e-1f));
}
