/* Bodies of the Python front end's operations.

   What follows the engine's struct context (64 bytes, core/ops.h) belongs to the front end, which mirrors this:
        64  int64_t  calls of compiled functions that are open
        72  int64_t  how many there may be */
struct python_context { struct context core; int64_t depth, depth_limit; };

/* Integers: unsigned arithmetic wraps. */
static inline uint64_t i64_add(uint64_t a, uint64_t b) { return a + b; }
static inline uint64_t i64_sub(uint64_t a, uint64_t b) { return a - b; }
static inline uint64_t i64_mul(uint64_t a, uint64_t b) { return a * b; }
static inline uint64_t i64_and(uint64_t a, uint64_t b) { return a & b; }
static inline uint64_t i64_or(uint64_t a, uint64_t b) { return a | b; }
static inline uint64_t i64_xor(uint64_t a, uint64_t b) { return a ^ b; }
static inline uint64_t i64_shl(uint64_t a, uint64_t b) { return a << (b & 63); }
static inline uint64_t i64_shr_s(uint64_t a, uint64_t b) { return (uint64_t)((int64_t)a >> (b & 63)); }
static inline uint64_t i64_neg(uint64_t a) { return -a; }
static inline uint64_t i64_not(uint64_t a) { return ~a; }
static inline uint64_t i64_floor_div(uint64_t a, uint64_t b) {
    if (b + 1 <= 1) return b ? -a : 0;
    int64_t q = (int64_t)a / (int64_t)b, r = (int64_t)a % (int64_t)b;
    return (uint64_t)(q - (r != 0 && (r ^ (int64_t)b) < 0));
}
static inline uint64_t i64_floor_mod(uint64_t a, uint64_t b) {
    if (b + 1 <= 1) return 0;
    int64_t r = (int64_t)a % (int64_t)b;
    return (uint64_t)(r != 0 && (r ^ (int64_t)b) < 0 ? r + (int64_t)b : r);
}
/* Clang turns a sum with a constant into a comparison with another constant, in no uniform way; so it must not see it. */
static inline int64_t unseen(uint64_t a) { __asm__("" : "+r"(a)); return (int64_t)a; }
static inline uint32_t i64_add_overflows(uint64_t a, uint64_t b) {
    int64_t r;
    return __builtin_add_overflow((int64_t)a, unseen(b), &r);
}
static inline uint32_t i64_sub_overflows(uint64_t a, uint64_t b) {
    int64_t r;
    return __builtin_sub_overflow((int64_t)a, unseen(b), &r);
}
static inline uint32_t i64_mul_overflows(uint64_t a, uint64_t b) {
    int64_t r;
    return __builtin_mul_overflow((int64_t)a, unseen(b), &r);
}
static inline uint32_t i64_shl_overflows(uint64_t a, uint64_t b) {
    return (uint64_t)((int64_t)(a << (b & 63)) >> (b & 63)) != a;
}
static inline uint32_t i64_beyond_f64(uint64_t a) { return a + (1ull << 53) > 1ull << 54; }

/* Comparisons and truth */
static inline uint32_t i64_eq(uint64_t a, uint64_t b) { return a == b; }
static inline uint32_t i64_ne(uint64_t a, uint64_t b) { return a != b; }
static inline uint32_t i64_lt_s(uint64_t a, uint64_t b) { return (int64_t)a < (int64_t)b; }
static inline uint32_t i64_gt_s(uint64_t a, uint64_t b) { return (int64_t)a > (int64_t)b; }
static inline uint32_t i64_le_s(uint64_t a, uint64_t b) { return (int64_t)a <= (int64_t)b; }
static inline uint32_t i64_ge_s(uint64_t a, uint64_t b) { return (int64_t)a >= (int64_t)b; }
static inline uint32_t i64_ge_u(uint64_t a, uint64_t b) { return a >= b; }
static inline uint32_t i64_nez(uint64_t a) { return a != 0; }
static inline uint32_t i32_eqz(uint32_t a) { return a == 0; }
static inline uint32_t i32_and(uint32_t a, uint32_t b) { return a & b; }
static inline uint32_t i32_or(uint32_t a, uint32_t b) { return a | b; }
static inline uint32_t i32_xor(uint32_t a, uint32_t b) { return a ^ b; }
static inline uint64_t i64_extend_i32_u(uint32_t a) { return a; }

/* Floats */
static inline uint64_t bits_f64(double a) { uint64_t r; __builtin_memcpy(&r, &a, 8); return r; }
static inline double from_bits_f64(uint64_t a) { double r; __builtin_memcpy(&r, &a, 8); return r; }
static inline double f64_add(double a, double b) { return a + b; }
static inline double f64_sub(double a, double b) { return a - b; }
static inline double f64_mul(double a, double b) { return a * b; }
static inline double f64_div(double a, double b) { return a / b; }
static inline double f64_sqrt(double a) { return __builtin_sqrt(a); }
static inline double f64_neg(double a) { return from_bits_f64(bits_f64(a) ^ 0x8000000000000000u); }
static inline double f64_abs(double a) { return from_bits_f64(bits_f64(a) & ~0x8000000000000000u); }
static inline uint32_t f64_eq(double a, double b) { return a == b; }
static inline uint32_t f64_ne(double a, double b) { return a != b; }
static inline uint32_t f64_lt(double a, double b) { return a < b; }
static inline uint32_t f64_gt(double a, double b) { return a > b; }
static inline uint32_t f64_le(double a, double b) { return a <= b; }
static inline uint32_t f64_ge(double a, double b) { return a >= b; }
static inline uint32_t f64_nez(double a) { return bits_f64(a) << 1 != 0; }
static inline double f64_convert_i64_s(uint64_t a) { return (double)(int64_t)a; }
static inline uint32_t f64_beyond_i64(double a) { return !(a >= -0x1p63 && a < 0x1p63); }
static inline uint64_t i64_trunc_f64(double a) { return f64_beyond_i64(a) ? 0 : (uint64_t)(int64_t)a; }
static inline uint32_t f64_not_finite(double a) { return a - a != a - a; }
static inline uint32_t f64_extreme(double a) { return (((bits_f64(a) >> 52) - 2) & 0x7ff) >= 0x7fd; }

/* The context */
static inline uint32_t ctx_enter(struct context *ctx) {
    struct python_context *python = (struct python_context *)ctx;
    return ++python->depth > python->depth_limit;
}
static inline void ctx_leave(struct context *ctx) { --((struct python_context *)ctx)->depth; }
static inline uint32_t ctx_interrupted(struct context *ctx) { return ctx->interrupt != 0; }

/* Memory */
static inline uint64_t mem_load_i64(uint64_t at, int32_t offset) { return *(uint64_t *)(at + (int64_t)offset); }
static inline uint64_t mem_load_u32(uint64_t at, int32_t offset) { return *(uint32_t *)(at + (int64_t)offset); }
static inline double mem_load_f64(uint64_t at, int32_t offset) { return *(double *)(at + (int64_t)offset); }
static inline void mem_store_i64(uint64_t at, uint64_t value, int32_t offset) { *(uint64_t *)(at + (int64_t)offset) = value; }
static inline void mem_store_f64(uint64_t at, double value, int32_t offset) { *(double *)(at + (int64_t)offset) = value; }
static inline void mem_add_i64(uint64_t at, uint64_t value, int32_t offset) { *(uint64_t *)(at + (int64_t)offset) += value; }
static inline uint32_t mem_differs_i64(uint64_t at, uint64_t value, int32_t offset) { return *(uint64_t *)(at + (int64_t)offset) != value; }
static inline uint32_t mem_beyond_i64(uint64_t index, uint64_t at, int32_t offset) { return index >= *(uint64_t *)(at + (int64_t)offset); }
static inline uint32_t mem_differs_u32(uint64_t at, uint64_t value, int32_t offset) { return *(uint32_t *)(at + (int64_t)offset) != (uint32_t)value; }
static inline uint32_t mem_beyond_first(uint64_t index, uint64_t at, int32_t offset) { return index >= (*(uint64_t **)(at + (int64_t)offset))[0]; }
static inline uint32_t mem_beyond_second(uint64_t index, uint64_t at, int32_t offset) { return index >= (*(uint64_t **)(at + (int64_t)offset))[1]; }
static inline uint64_t mem_times_first(uint64_t index, uint64_t at, int32_t offset) { return index * (*(uint64_t **)(at + (int64_t)offset))[0]; }
static inline uint64_t mem_times_second(uint64_t index, uint64_t at, int32_t offset) { return index * (*(uint64_t **)(at + (int64_t)offset))[1]; }
static inline uint64_t mem_item_i64(uint64_t at, uint64_t index, int32_t offset) { return (*(uint64_t **)(at + (int64_t)offset))[index]; }
static inline void mem_put_item_i64(uint64_t at, uint64_t index, uint64_t value, int32_t offset) { (*(uint64_t **)(at + (int64_t)offset))[index] = value; }
static inline uint64_t mem_element_i64(uint64_t at, uint64_t index) { return ((uint64_t *)at)[index]; }
static inline uint64_t mem_element_i32(uint64_t at, uint64_t index) { return (uint64_t)(int64_t)((int32_t *)at)[index]; }
static inline uint64_t mem_element_u32(uint64_t at, uint64_t index) { return ((uint32_t *)at)[index]; }
static inline uint64_t mem_element_i16(uint64_t at, uint64_t index) { return (uint64_t)(int64_t)((int16_t *)at)[index]; }
static inline uint64_t mem_element_u16(uint64_t at, uint64_t index) { return ((uint16_t *)at)[index]; }
static inline uint64_t mem_element_i8(uint64_t at, uint64_t index) { return (uint64_t)(int64_t)((int8_t *)at)[index]; }
static inline uint64_t mem_element_u8(uint64_t at, uint64_t index) { return ((uint8_t *)at)[index]; }
static inline double mem_element_f64(uint64_t at, uint64_t index) { return ((double *)at)[index]; }
static inline double mem_element_f32(uint64_t at, uint64_t index) { return ((float *)at)[index]; }
static inline void mem_put_i64(uint64_t at, uint64_t index, uint64_t value) { ((uint64_t *)at)[index] = value; }
static inline void mem_put_i32(uint64_t at, uint64_t index, uint64_t value) { ((uint32_t *)at)[index] = (uint32_t)value; }
static inline void mem_put_i16(uint64_t at, uint64_t index, uint64_t value) { ((uint16_t *)at)[index] = (uint16_t)value; }
static inline void mem_put_i8(uint64_t at, uint64_t index, uint64_t value) { ((uint8_t *)at)[index] = (uint8_t)value; }
static inline void mem_put_f64(uint64_t at, uint64_t index, double value) { ((double *)at)[index] = value; }
static inline void mem_put_f32(uint64_t at, uint64_t index, double value) { ((float *)at)[index] = (float)value; }

/* Integers of digits of 30 bits */
struct digits { uint64_t word; uint32_t low, high; };
static inline struct digits *digits_at(uint64_t at, int32_t offset) { return (struct digits *)(at + (int64_t)offset); }
/* For several accesses: those of different sizes reach different distances on aarch64, and each offset would get other instructions. */
static inline struct digits *all_digits_at(uint64_t at, int32_t offset) {
    struct digits *d = digits_at(at, offset);
#ifdef __aarch64__
    __asm__("" : "+r"(d));
#endif
    return d;
}
static inline uint64_t two_digits(const struct digits *d) { return d->low + ((uint64_t)d->high << 30); }
static inline uint64_t sign_of(uint64_t a) { return (uint64_t)((int64_t)a >> 63); }
static inline uint64_t magnitude(uint64_t a) { return (a ^ sign_of(a)) - sign_of(a); }
static inline void put_digits(struct digits *d, uint64_t word, uint64_t value) {
    d->word = word;
    value = magnitude(value);
    d->low = value & 0x3fffffff;
    if (value >> 30) d->high = (uint32_t)(value >> 30);
}
static inline uint32_t counted_not_one(uint64_t at, int32_t offset) { return digits_at(at, offset)->word + 1 > 2; }
static inline uint64_t counted_one(uint64_t at, int32_t offset) {
    const struct digits *d = all_digits_at(at, offset);
    return d->word * d->low;
}
static inline uint32_t counted_not_two(uint64_t at, int32_t offset) { return ((digits_at(at, offset)->word + 2) & ~4ull) != 0; }
static inline uint64_t counted_two(uint64_t at, int32_t offset) {
    const struct digits *d = all_digits_at(at, offset);
    return (uint64_t)((int64_t)d->word >> 1) * two_digits(d);
}
static inline uint32_t counted_misfits(uint64_t at, uint64_t value, int32_t offset) {
    uint64_t word = digits_at(at, offset)->word, square = magnitude(value) >> 30 ? 4 : 1;
    return ((word * word ^ square) | magnitude(value) >> 60) != 0;
}
static inline void counted_put(uint64_t at, uint64_t value, int32_t offset) {
    struct digits *d = all_digits_at(at, offset);
    uint64_t word = magnitude(d->word);
    put_digits(d, (word ^ sign_of(value)) - sign_of(value), value);
}
static inline uint32_t tagged_not_one(uint64_t at, int32_t offset) { return digits_at(at, offset)->word >= 16; }
static inline uint64_t tagged_one(uint64_t at, int32_t offset) {
    const struct digits *d = all_digits_at(at, offset);
    return (1 - (d->word & 3)) * d->low;
}
static inline uint32_t tagged_not_two(uint64_t at, int32_t offset) { return digits_at(at, offset)->word >> 3 != 2; }
static inline uint64_t tagged_two(uint64_t at, int32_t offset) {
    const struct digits *d = all_digits_at(at, offset);
    return (1 - (d->word & 3)) * two_digits(d);
}
static inline uint32_t tagged_misfits(uint64_t at, uint64_t value, int32_t offset) {
    uint64_t count = magnitude(value) >> 30 ? 2 : 1;
    return ((digits_at(at, offset)->word >> 3 ^ count) | magnitude(value) >> 60) != 0;
}
static inline void tagged_put(uint64_t at, uint64_t value, int32_t offset) {
    struct digits *d = all_digits_at(at, offset);
    put_digits(d, (d->word & ~2ull) | (sign_of(value) & 2), value);
}
