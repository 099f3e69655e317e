/* Bodies of the toy language's operations.

   What follows the engine's struct context (64 bytes, core/ops.h) belongs to the front end, which mirrors this:
        64  int64_t *  the array's elements
        72  uint64_t   how many there are */
struct toy_context { struct context core; uint64_t *elements; uint64_t length; };

/* Integers: unsigned arithmetic wraps. */
static inline uint64_t i64_add(uint64_t a, uint64_t b) { return a + b; }
static inline uint64_t i64_sub(uint64_t a, uint64_t b) { return a - b; }
static inline uint64_t i64_mul(uint64_t a, uint64_t b) { return a * b; }
static inline uint64_t i64_div_s(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint64_t)-1) {
        if (a == (uint64_t)INT64_MIN) { *trap = 2; return 0; }
        return -a;
    }
    return (uint64_t)((int64_t)a / (int64_t)b);
}
static inline uint64_t i64_rem_s(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint64_t)-1) return 0;
    return (uint64_t)((int64_t)a % (int64_t)b);
}
static inline uint64_t i64_and(uint64_t a, uint64_t b) { return a & b; }
static inline uint64_t i64_or(uint64_t a, uint64_t b) { return a | b; }
static inline uint64_t i64_xor(uint64_t a, uint64_t b) { return a ^ b; }
static inline uint64_t i64_shl(uint64_t a, uint64_t b) { return a << (b & 63); }
static inline uint64_t i64_shr_s(uint64_t a, uint64_t b) { return (uint64_t)((int64_t)a >> (b & 63)); }
static inline uint64_t i64_shr_u(uint64_t a, uint64_t b) { return a >> (b & 63); }
static inline uint64_t i64_neg(uint64_t a) { return -a; }
static inline uint64_t i64_not(uint64_t a) { return ~a; }

/* Comparisons and truth */
static inline uint32_t i64_eq(uint64_t a, uint64_t b) { return a == b; }
static inline uint32_t i64_ne(uint64_t a, uint64_t b) { return a != b; }
static inline uint32_t i64_lt_s(uint64_t a, uint64_t b) { return (int64_t)a < (int64_t)b; }
static inline uint32_t i64_gt_s(uint64_t a, uint64_t b) { return (int64_t)a > (int64_t)b; }
static inline uint32_t i64_le_s(uint64_t a, uint64_t b) { return (int64_t)a <= (int64_t)b; }
static inline uint32_t i64_ge_s(uint64_t a, uint64_t b) { return (int64_t)a >= (int64_t)b; }
static inline uint32_t i64_nez(uint64_t a) { return a != 0; }
static inline uint32_t i32_eqz(uint32_t a) { return a == 0; }
static inline uint64_t i64_extend_i32_u(uint32_t a) { return a; }

/* Floats */
static inline uint64_t bits_f64(double a) { uint64_t r; __builtin_memcpy(&r, &a, 8); return r; }
static inline double from_bits_f64(uint64_t a) { double r; __builtin_memcpy(&r, &a, 8); return r; }
static inline double f64_add(double a, double b) { return a + b; }
static inline double f64_sub(double a, double b) { return a - b; }
static inline double f64_mul(double a, double b) { return a * b; }
static inline double f64_div(double a, double b) { return a / b; }
/* NaN if either is; two one-sided minima differ only where the operands are equal, and there -0 wins. */
static inline double f64_min(double a, double b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f64(bits_f64(a < b ? a : b) | bits_f64(b < a ? b : a));
}
static inline double f64_max(double a, double b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f64(bits_f64(a > b ? a : b) & bits_f64(b > a ? b : a));
}
static inline double f64_sqrt(double a) { return __builtin_sqrt(a); }
static inline double f64_neg(double a) { return from_bits_f64(bits_f64(a) ^ 0x8000000000000000u); }
static inline double f64_abs(double a) { return from_bits_f64(bits_f64(a) & ~0x8000000000000000u); }
static inline uint32_t f64_eq(double a, double b) { return a == b; }
static inline uint32_t f64_ne(double a, double b) { return a != b; }
static inline uint32_t f64_lt(double a, double b) { return a < b; }
static inline uint32_t f64_gt(double a, double b) { return a > b; }
static inline uint32_t f64_le(double a, double b) { return a <= b; }
static inline uint32_t f64_ge(double a, double b) { return a >= b; }

/* Conversions */
static inline double f64_convert_i64_s(uint64_t a) { return (double)(int64_t)a; }
static inline uint64_t i64_trunc_sat_f64_s(double a) {
    if (a != a) return 0;
    if (a < -0x1p63) return (uint64_t)INT64_MIN;
    if (a >= 0x1p63) return INT64_MAX;
    return (uint64_t)(int64_t)a;
}

/* The array */
static inline uint64_t i64_load(struct context *ctx, uint64_t index, int *trap) {
    const struct toy_context *toy = (const struct toy_context *)ctx;
    if (index >= toy->length) { *trap = 1; return 0; }
    return toy->elements[index];
}
static inline void i64_store(struct context *ctx, uint64_t index, uint64_t value, int *trap) {
    const struct toy_context *toy = (const struct toy_context *)ctx;
    if (index >= toy->length) { *trap = 1; return; }
    toy->elements[index] = value;
}
