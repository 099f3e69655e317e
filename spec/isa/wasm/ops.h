/* Bodies of the WebAssembly operations: exact semantics, and no undefined behaviour in C.

   What follows the engine's struct context (64 bytes, core/ops.h) belongs to the front end, which mirrors this:
        64  uint64_t   bytes of linear memory now
        72  const struct entry *   what `table.entry` found last
        80             reserved, the front end's own
        88  40 bytes   scratch of single operations
       128             table descriptors (struct table) and globals (8 bytes each; v128: 16), at offsets from the
                       context that reach the operations as immediates */
struct entry;
struct wasm_context { struct context core; uint64_t memory_bytes; const struct entry *callee; uint64_t reserved; uint8_t scratch[40]; };

/* What a reference to a function points at; `code` runs in `context` only. */
struct function { void *code; struct context *context; };
/* An element of a table: a reference, 0 if it is null; the number of the function's signature, 0 if there is none, else
   equal for equal function types; and code for everybody who uses the table. For a function that needs another context
   than some of these, that code does what it takes, given the element as the context's `callee`. */
struct entry { struct function *object; uint64_t signature; void *code; uint64_t reserved; };
struct table { struct entry *entries; uint64_t length; };

static inline uint32_t bits_f32(float a) { uint32_t r; __builtin_memcpy(&r, &a, 4); return r; }
static inline uint64_t bits_f64(double a) { uint64_t r; __builtin_memcpy(&r, &a, 8); return r; }
static inline float from_bits_f32(uint32_t a) { float r; __builtin_memcpy(&r, &a, 4); return r; }
static inline double from_bits_f64(uint64_t a) { double r; __builtin_memcpy(&r, &a, 8); return r; }

/* Unaligned accesses. */
static inline uint8_t read_8(const uint8_t *p) { return *p; }
static inline uint16_t read_16(const uint8_t *p) { uint16_t r; __builtin_memcpy(&r, p, 2); return r; }
static inline uint32_t read_32(const uint8_t *p) { uint32_t r; __builtin_memcpy(&r, p, 4); return r; }
static inline uint64_t read_64(const uint8_t *p) { uint64_t r; __builtin_memcpy(&r, p, 8); return r; }
static inline void write_8(uint8_t *p, uint8_t v) { *p = v; }
static inline void write_16(uint8_t *p, uint16_t v) { __builtin_memcpy(p, &v, 2); }
static inline void write_32(uint8_t *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }
static inline void write_64(uint8_t *p, uint64_t v) { __builtin_memcpy(p, &v, 8); }

/* i32: arithmetic */
static inline uint32_t i32_add(uint32_t a, uint32_t b) { return a + b; }
static inline uint32_t i32_sub(uint32_t a, uint32_t b) { return a - b; }
static inline uint32_t i32_mul(uint32_t a, uint32_t b) { return a * b; }
static inline uint32_t i32_and(uint32_t a, uint32_t b) { return a & b; }
static inline uint32_t i32_or(uint32_t a, uint32_t b) { return a | b; }
static inline uint32_t i32_xor(uint32_t a, uint32_t b) { return a ^ b; }
static inline uint32_t i32_div_s(uint32_t a, uint32_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint32_t)-1) {
        if (a == (uint32_t)INT32_MIN) { *trap = 2; return 0; }
        return -a;
    }
    return (uint32_t)((int32_t)a / (int32_t)b);
}
static inline uint32_t i32_div_u(uint32_t a, uint32_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    return a / b;
}
static inline uint32_t i32_rem_s(uint32_t a, uint32_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint32_t)-1) return 0;
    return (uint32_t)((int32_t)a % (int32_t)b);
}
static inline uint32_t i32_rem_u(uint32_t a, uint32_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    return a % b;
}
static inline uint32_t i32_shl(uint32_t a, uint32_t b) { return a << (b & 31); }
static inline uint32_t i32_shr_s(uint32_t a, uint32_t b) { return (uint32_t)((int32_t)a >> (b & 31)); }
static inline uint32_t i32_shr_u(uint32_t a, uint32_t b) { return a >> (b & 31); }
static inline uint32_t i32_rotl(uint32_t a, uint32_t b) { return a << (b & 31) | a >> (-b & 31); }
static inline uint32_t i32_rotr(uint32_t a, uint32_t b) { return a >> (b & 31) | a << (-b & 31); }
static inline uint32_t i32_clz(uint32_t a) { return a ? (uint32_t)__builtin_clz(a) : 32; }
static inline uint32_t i32_ctz(uint32_t a) { return a ? (uint32_t)__builtin_ctz(a) : 32; }
static inline uint32_t i32_popcnt(uint32_t a) { return (uint32_t)__builtin_popcount(a); }
static inline uint32_t i32_extend8_s(uint32_t a) { return (uint32_t)(int32_t)(int8_t)a; }
static inline uint32_t i32_extend16_s(uint32_t a) { return (uint32_t)(int32_t)(int16_t)a; }

/* i32: comparisons */
static inline uint32_t i32_eqz(uint32_t a) { return a == 0; }
static inline uint32_t i32_eq(uint32_t a, uint32_t b) { return a == b; }
static inline uint32_t i32_ne(uint32_t a, uint32_t b) { return a != b; }
static inline uint32_t i32_lt_s(uint32_t a, uint32_t b) { return (int32_t)a < (int32_t)b; }
static inline uint32_t i32_lt_u(uint32_t a, uint32_t b) { return a < b; }
static inline uint32_t i32_gt_s(uint32_t a, uint32_t b) { return (int32_t)a > (int32_t)b; }
static inline uint32_t i32_gt_u(uint32_t a, uint32_t b) { return a > b; }
static inline uint32_t i32_le_s(uint32_t a, uint32_t b) { return (int32_t)a <= (int32_t)b; }
static inline uint32_t i32_le_u(uint32_t a, uint32_t b) { return a <= b; }
static inline uint32_t i32_ge_s(uint32_t a, uint32_t b) { return (int32_t)a >= (int32_t)b; }
static inline uint32_t i32_ge_u(uint32_t a, uint32_t b) { return a >= b; }

/* i64: arithmetic */
static inline uint64_t i64_add(uint64_t a, uint64_t b) { return a + b; }
static inline uint64_t i64_sub(uint64_t a, uint64_t b) { return a - b; }
static inline uint64_t i64_mul(uint64_t a, uint64_t b) { return a * b; }
static inline uint64_t i64_and(uint64_t a, uint64_t b) { return a & b; }
static inline uint64_t i64_or(uint64_t a, uint64_t b) { return a | b; }
static inline uint64_t i64_xor(uint64_t a, uint64_t b) { return a ^ b; }
static inline uint64_t i64_div_s(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint64_t)-1) {
        if (a == (uint64_t)INT64_MIN) { *trap = 2; return 0; }
        return -a;
    }
    return (uint64_t)((int64_t)a / (int64_t)b);
}
static inline uint64_t i64_div_u(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    return a / b;
}
static inline uint64_t i64_rem_s(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    if (b == (uint64_t)-1) return 0;
    return (uint64_t)((int64_t)a % (int64_t)b);
}
static inline uint64_t i64_rem_u(uint64_t a, uint64_t b, int *trap) {
    if (b == 0) { *trap = 1; return 0; }
    return a % b;
}
static inline uint64_t i64_shl(uint64_t a, uint64_t b) { return a << (b & 63); }
static inline uint64_t i64_shr_s(uint64_t a, uint64_t b) { return (uint64_t)((int64_t)a >> (b & 63)); }
static inline uint64_t i64_shr_u(uint64_t a, uint64_t b) { return a >> (b & 63); }
static inline uint64_t i64_rotl(uint64_t a, uint64_t b) { return a << (b & 63) | a >> (-b & 63); }
static inline uint64_t i64_rotr(uint64_t a, uint64_t b) { return a >> (b & 63) | a << (-b & 63); }
static inline uint64_t i64_clz(uint64_t a) { return a ? (uint64_t)__builtin_clzll(a) : 64; }
static inline uint64_t i64_ctz(uint64_t a) { return a ? (uint64_t)__builtin_ctzll(a) : 64; }
static inline uint64_t i64_popcnt(uint64_t a) { return (uint64_t)__builtin_popcountll(a); }
static inline uint64_t i64_extend8_s(uint64_t a) { return (uint64_t)(int64_t)(int8_t)a; }
static inline uint64_t i64_extend16_s(uint64_t a) { return (uint64_t)(int64_t)(int16_t)a; }
static inline uint64_t i64_extend32_s(uint64_t a) { return (uint64_t)(int64_t)(int32_t)a; }

/* i64: comparisons */
static inline uint32_t i64_eqz(uint64_t a) { return a == 0; }
static inline uint32_t i64_eq(uint64_t a, uint64_t b) { return a == b; }
static inline uint32_t i64_ne(uint64_t a, uint64_t b) { return a != b; }
static inline uint32_t i64_lt_s(uint64_t a, uint64_t b) { return (int64_t)a < (int64_t)b; }
static inline uint32_t i64_lt_u(uint64_t a, uint64_t b) { return a < b; }
static inline uint32_t i64_gt_s(uint64_t a, uint64_t b) { return (int64_t)a > (int64_t)b; }
static inline uint32_t i64_gt_u(uint64_t a, uint64_t b) { return a > b; }
static inline uint32_t i64_le_s(uint64_t a, uint64_t b) { return (int64_t)a <= (int64_t)b; }
static inline uint32_t i64_le_u(uint64_t a, uint64_t b) { return a <= b; }
static inline uint32_t i64_ge_s(uint64_t a, uint64_t b) { return (int64_t)a >= (int64_t)b; }
static inline uint32_t i64_ge_u(uint64_t a, uint64_t b) { return a >= b; }

/* A float cut off to an integer, or INT64_MIN where that does not fit: x86-64 has an instruction that does just this. */
#ifdef __SSE2__
typedef float lanes_f32 __attribute__((vector_size(16)));
typedef double lanes_f64 __attribute__((vector_size(16)));
static inline int64_t cut_f32(float a) { return __builtin_ia32_cvttss2si64((lanes_f32){a, 0, 0, 0}); }
static inline int64_t cut_f64(double a) { return __builtin_ia32_cvttsd2si64((lanes_f64){a, 0}); }
#else
static inline int64_t cut_f32(float a) { return a >= -0x1p63f && a < 0x1p63f ? (int64_t)a : INT64_MIN; }
static inline int64_t cut_f64(double a) { return a >= -0x1p63 && a < 0x1p63 ? (int64_t)a : INT64_MIN; }
#endif

/* Rounding is one instruction where the machine has it. Elsewhere the detour through an integer cuts the fraction off,
   and the sign is put back for the sake of -0; what does not fit is integral already, or NaN, which has to become quiet
   (clang drops an addition of 0 where it knows that the sum is not -0). */
#if defined(__SSE4_1__) || defined(__aarch64__)
#define ROUNDS 1
#endif
static inline float quiet_f32(float a) { return a != a ? a + a : a; }
static inline double quiet_f64(double a) { return a != a ? a + a : a; }
static inline float signed_f32(float r, float a) { return from_bits_f32(bits_f32(r) | (bits_f32(a) & 0x80000000u)); }
static inline double signed_f64(double r, double a) { return from_bits_f64(bits_f64(r) | (bits_f64(a) & 0x8000000000000000u)); }

/* f32: arithmetic */
static inline float f32_add(float a, float b) { return a + b; }
static inline float f32_sub(float a, float b) { return a - b; }
static inline float f32_mul(float a, float b) { return a * b; }
static inline float f32_div(float a, float b) { return a / b; }
/* Two one-sided minima differ only where the operands are equal, and there -0 wins. */
static inline float f32_min(float a, float b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f32(bits_f32(a < b ? a : b) | bits_f32(b < a ? b : a));
}
static inline float f32_max(float a, float b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f32(bits_f32(a > b ? a : b) & bits_f32(b > a ? b : a));
}
static inline float f32_copysign(float a, float b) { return __builtin_copysignf(a, b); }
static inline float f32_abs(float a) { return from_bits_f32(bits_f32(a) & ~0x80000000u); }
static inline float f32_neg(float a) { return from_bits_f32(bits_f32(a) ^ 0x80000000u); }
static inline float f32_sqrt(float a) { return __builtin_sqrtf(a); }
#ifdef ROUNDS
static inline float f32_ceil(float a) { return __builtin_ceilf(a); }
static inline float f32_floor(float a) { return __builtin_floorf(a); }
static inline float f32_trunc(float a) { return __builtin_truncf(a); }
static inline float f32_nearest(float a) { return __builtin_roundevenf(a); }
#else
static inline float f32_ceil(float a) {
    int64_t i = cut_f32(a);
    if (i == INT64_MIN) return quiet_f32(a);
    float r = (float)i;
    return signed_f32(r + (r < a ? 1.0f : 0.0f), a);
}
static inline float f32_floor(float a) {
    int64_t i = cut_f32(a);
    if (i == INT64_MIN) return quiet_f32(a);
    float r = (float)i;
    return signed_f32(r - (r > a ? 1.0f : 0.0f), a);
}
static inline float f32_trunc(float a) {
    int64_t i = cut_f32(a);
    if (i == INT64_MIN) return quiet_f32(a);
    return signed_f32((float)i, a);
}
/* Adding and subtracting the least power of two that leaves no bits for a fraction rounds as addition does. */
static inline float f32_nearest(float a) {
    float m = __builtin_fabsf(a);
    if (!(m < 0x1p23f)) return quiet_f32(a);
    return signed_f32(m + 0x1p23f - 0x1p23f, a);
}
#endif

/* f32: comparisons */
static inline uint32_t f32_eq(float a, float b) { return a == b; }
static inline uint32_t f32_ne(float a, float b) { return a != b; }
static inline uint32_t f32_lt(float a, float b) { return a < b; }
static inline uint32_t f32_gt(float a, float b) { return a > b; }
static inline uint32_t f32_le(float a, float b) { return a <= b; }
static inline uint32_t f32_ge(float a, float b) { return a >= b; }

/* f64: arithmetic */
static inline double f64_add(double a, double b) { return a + b; }
static inline double f64_sub(double a, double b) { return a - b; }
static inline double f64_mul(double a, double b) { return a * b; }
static inline double f64_div(double a, double b) { return a / b; }
/* Two one-sided minima differ only where the operands are equal, and there -0 wins. */
static inline double f64_min(double a, double b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f64(bits_f64(a < b ? a : b) | bits_f64(b < a ? b : a));
}
static inline double f64_max(double a, double b) {
    if (__builtin_isunordered(a, b)) return a + b;
    return from_bits_f64(bits_f64(a > b ? a : b) & bits_f64(b > a ? b : a));
}
static inline double f64_copysign(double a, double b) { return __builtin_copysign(a, b); }
static inline double f64_abs(double a) { return from_bits_f64(bits_f64(a) & ~0x8000000000000000u); }
static inline double f64_neg(double a) { return from_bits_f64(bits_f64(a) ^ 0x8000000000000000u); }
static inline double f64_sqrt(double a) { return __builtin_sqrt(a); }
#ifdef ROUNDS
static inline double f64_ceil(double a) { return __builtin_ceil(a); }
static inline double f64_floor(double a) { return __builtin_floor(a); }
static inline double f64_trunc(double a) { return __builtin_trunc(a); }
static inline double f64_nearest(double a) { return __builtin_roundeven(a); }
#else
static inline double f64_ceil(double a) {
    int64_t i = cut_f64(a);
    if (i == INT64_MIN) return quiet_f64(a);
    double r = (double)i;
    return signed_f64(r + (r < a ? 1.0 : 0.0), a);
}
static inline double f64_floor(double a) {
    int64_t i = cut_f64(a);
    if (i == INT64_MIN) return quiet_f64(a);
    double r = (double)i;
    return signed_f64(r - (r > a ? 1.0 : 0.0), a);
}
static inline double f64_trunc(double a) {
    int64_t i = cut_f64(a);
    if (i == INT64_MIN) return quiet_f64(a);
    return signed_f64((double)i, a);
}
/* Adding and subtracting the least power of two that leaves no bits for a fraction rounds as addition does. */
static inline double f64_nearest(double a) {
    double m = __builtin_fabs(a);
    if (!(m < 0x1p52)) return quiet_f64(a);
    return signed_f64(m + 0x1p52 - 0x1p52, a);
}
#endif

/* f64: comparisons */
static inline uint32_t f64_eq(double a, double b) { return a == b; }
static inline uint32_t f64_ne(double a, double b) { return a != b; }
static inline uint32_t f64_lt(double a, double b) { return a < b; }
static inline uint32_t f64_gt(double a, double b) { return a > b; }
static inline uint32_t f64_le(double a, double b) { return a <= b; }
static inline uint32_t f64_ge(double a, double b) { return a >= b; }

/* Conversions between integers */
static inline uint32_t i32_wrap_i64(uint64_t a) { return (uint32_t)a; }
static inline uint64_t i64_extend_i32_s(uint32_t a) { return (uint64_t)(int64_t)(int32_t)a; }
static inline uint64_t i64_extend_i32_u(uint32_t a) { return a; }

/* Conversions of floats to integers that trap */
static inline uint32_t i32_trunc_f32_s(float a, int *trap) {
    int64_t r = cut_f32(a);
    if (r != (int32_t)r) *trap = a != a ? 1 : 2;
    return (uint32_t)r;
}
static inline uint32_t i32_trunc_f32_u(float a, int *trap) {
    int64_t r = cut_f32(a);
    if (r != (uint32_t)r) *trap = a != a ? 1 : 2;
    return (uint32_t)r;
}
static inline uint64_t i64_trunc_f32_s(float a, int *trap) {
    int64_t r = cut_f32(a);
    if (r == INT64_MIN) {
        if (a != a) *trap = 1;
        else if (a != -0x1p63f) *trap = 2;
    }
    return (uint64_t)r;
}
static inline uint64_t i64_trunc_f32_u(float a, int *trap) {
    int64_t r = cut_f32(a);
    if (r >= 0) return (uint64_t)r;
    r = cut_f32(a - 0x1p63f);
    if (r < 0) *trap = a != a ? 1 : 2;
    return (uint64_t)r ^ (uint64_t)INT64_MIN;
}
static inline uint32_t i32_trunc_f64_s(double a, int *trap) {
    int64_t r = cut_f64(a);
    if (r != (int32_t)r) *trap = a != a ? 1 : 2;
    return (uint32_t)r;
}
static inline uint32_t i32_trunc_f64_u(double a, int *trap) {
    int64_t r = cut_f64(a);
    if (r != (uint32_t)r) *trap = a != a ? 1 : 2;
    return (uint32_t)r;
}
static inline uint64_t i64_trunc_f64_s(double a, int *trap) {
    int64_t r = cut_f64(a);
    if (r == INT64_MIN) {
        if (a != a) *trap = 1;
        else if (a != -0x1p63) *trap = 2;
    }
    return (uint64_t)r;
}
static inline uint64_t i64_trunc_f64_u(double a, int *trap) {
    int64_t r = cut_f64(a);
    if (r >= 0) return (uint64_t)r;
    r = cut_f64(a - 0x1p63);
    if (r < 0) *trap = a != a ? 1 : 2;
    return (uint64_t)r ^ (uint64_t)INT64_MIN;
}

/* Conversions of floats to integers that saturate; NaN gives 0 */
static inline uint32_t i32_trunc_sat_f32_s(float a) {
    int64_t r = cut_f32(a);
    if (r == (int32_t)r) return (uint32_t)r;
    return a != a ? 0 : a < 0 ? (uint32_t)INT32_MIN : INT32_MAX;
}
static inline uint32_t i32_trunc_sat_f32_u(float a) {
    int64_t r = cut_f32(a);
    if (r == (uint32_t)r) return (uint32_t)r;
    return a > 0 ? UINT32_MAX : 0;
}
static inline uint64_t i64_trunc_sat_f32_s(float a) {
    int64_t r = cut_f32(a);
    if (r != INT64_MIN) return (uint64_t)r;
    return a != a ? 0 : a < 0 ? (uint64_t)INT64_MIN : INT64_MAX;
}
static inline uint64_t i64_trunc_sat_f32_u(float a) {
    int64_t r = cut_f32(a);
    if (r >= 0) return (uint64_t)r;
    if (!(a > 0)) return 0;
    r = cut_f32(a - 0x1p63f);
    return r >= 0 ? (uint64_t)r ^ (uint64_t)INT64_MIN : UINT64_MAX;
}
static inline uint32_t i32_trunc_sat_f64_s(double a) {
    int64_t r = cut_f64(a);
    if (r == (int32_t)r) return (uint32_t)r;
    return a != a ? 0 : a < 0 ? (uint32_t)INT32_MIN : INT32_MAX;
}
static inline uint32_t i32_trunc_sat_f64_u(double a) {
    int64_t r = cut_f64(a);
    if (r == (uint32_t)r) return (uint32_t)r;
    return a > 0 ? UINT32_MAX : 0;
}
static inline uint64_t i64_trunc_sat_f64_s(double a) {
    int64_t r = cut_f64(a);
    if (r != INT64_MIN) return (uint64_t)r;
    return a != a ? 0 : a < 0 ? (uint64_t)INT64_MIN : INT64_MAX;
}
static inline uint64_t i64_trunc_sat_f64_u(double a) {
    int64_t r = cut_f64(a);
    if (r >= 0) return (uint64_t)r;
    if (!(a > 0)) return 0;
    r = cut_f64(a - 0x1p63);
    return r >= 0 ? (uint64_t)r ^ (uint64_t)INT64_MIN : UINT64_MAX;
}

/* Conversions to floats */
static inline float f32_convert_i32_s(uint32_t a) { return (float)(int32_t)a; }
static inline float f32_convert_i32_u(uint32_t a) { return (float)a; }
static inline float f32_convert_i64_s(uint64_t a) { return (float)(int64_t)a; }
static inline float f32_convert_i64_u(uint64_t a) { return (float)a; }
static inline double f64_convert_i32_s(uint32_t a) { return (double)(int32_t)a; }
static inline double f64_convert_i32_u(uint32_t a) { return (double)a; }
static inline double f64_convert_i64_s(uint64_t a) { return (double)(int64_t)a; }
static inline double f64_convert_i64_u(uint64_t a) { return (double)a; }
static inline float f32_demote_f64(double a) { return (float)a; }
static inline double f64_promote_f32(float a) { return (double)a; }
static inline uint32_t i32_reinterpret_f32(float a) { return bits_f32(a); }
static inline uint64_t i64_reinterpret_f64(double a) { return bits_f64(a); }
static inline float f32_reinterpret_i32(uint32_t a) { return from_bits_f32(a); }
static inline double f64_reinterpret_i64(uint64_t a) { return from_bits_f64(a); }

/* Linear memory. Address arithmetic is 64 bits wide; guard pages check the bounds. */
static inline uint32_t i32_load(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_32(mem + (uint64_t)addr + offset); }
static inline uint32_t i32_load8_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint32_t)(int8_t)read_8(mem + (uint64_t)addr + offset); }
static inline uint32_t i32_load8_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_8(mem + (uint64_t)addr + offset); }
static inline uint32_t i32_load16_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint32_t)(int16_t)read_16(mem + (uint64_t)addr + offset); }
static inline uint32_t i32_load16_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_16(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_64(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load8_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint64_t)(int8_t)read_8(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load8_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_8(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load16_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint64_t)(int16_t)read_16(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load16_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_16(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load32_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint64_t)(int32_t)read_32(mem + (uint64_t)addr + offset); }
static inline uint64_t i64_load32_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_32(mem + (uint64_t)addr + offset); }
static inline float f32_load(uint8_t *mem, uint32_t addr, uint32_t offset) { return from_bits_f32(read_32(mem + (uint64_t)addr + offset)); }
static inline double f64_load(uint8_t *mem, uint32_t addr, uint32_t offset) { return from_bits_f64(read_64(mem + (uint64_t)addr + offset)); }
static inline void i32_store(uint8_t *mem, uint32_t addr, uint32_t v, uint32_t offset) { write_32(mem + (uint64_t)addr + offset, v); }
static inline void i32_store8(uint8_t *mem, uint32_t addr, uint32_t v, uint32_t offset) { write_8(mem + (uint64_t)addr + offset, (uint8_t)v); }
static inline void i32_store16(uint8_t *mem, uint32_t addr, uint32_t v, uint32_t offset) { write_16(mem + (uint64_t)addr + offset, (uint16_t)v); }
static inline void i64_store(uint8_t *mem, uint32_t addr, uint64_t v, uint32_t offset) { write_64(mem + (uint64_t)addr + offset, v); }
static inline void i64_store8(uint8_t *mem, uint32_t addr, uint64_t v, uint32_t offset) { write_8(mem + (uint64_t)addr + offset, (uint8_t)v); }
static inline void i64_store16(uint8_t *mem, uint32_t addr, uint64_t v, uint32_t offset) { write_16(mem + (uint64_t)addr + offset, (uint16_t)v); }
static inline void i64_store32(uint8_t *mem, uint32_t addr, uint64_t v, uint32_t offset) { write_32(mem + (uint64_t)addr + offset, (uint32_t)v); }
static inline void f32_store(uint8_t *mem, uint32_t addr, float v, uint32_t offset) { write_32(mem + (uint64_t)addr + offset, bits_f32(v)); }
static inline void f64_store(uint8_t *mem, uint32_t addr, double v, uint32_t offset) { write_64(mem + (uint64_t)addr + offset, bits_f64(v)); }
/* The sum wraps before it becomes an address. */
static inline uint8_t *address_sum(uint8_t *mem, uint32_t addr, int32_t offset) { return mem + (uint32_t)(addr + (uint32_t)offset); }
static inline uint64_t i64_load_sum(uint8_t *mem, uint32_t addr, int32_t offset) { return read_64(address_sum(mem, addr, offset)); }
static inline uint64_t i64_load8_u_sum(uint8_t *mem, uint32_t addr, int32_t offset) { return read_8(address_sum(mem, addr, offset)); }
static inline void i64_store_sum(uint8_t *mem, uint32_t addr, uint64_t v, int32_t offset) { write_64(address_sum(mem, addr, offset), v); }
static inline void i64_store8_sum(uint8_t *mem, uint32_t addr, uint64_t v, int32_t offset) { write_8(address_sum(mem, addr, offset), (uint8_t)v); }
static inline void i64_store32_sum(uint8_t *mem, uint32_t addr, uint64_t v, int32_t offset) { write_32(address_sum(mem, addr, offset), (uint32_t)v); }
/* Volatile, so that all eight bytes are read: the last of them may lie behind the memory's end. */
struct unaligned_64 { uint64_t value; } __attribute__((packed));
static inline uint32_t i64_load_wrap(uint8_t *mem, uint32_t addr, uint32_t offset) { return (uint32_t)((volatile const struct unaligned_64 *)(mem + (uint64_t)addr + offset))->value; }
static inline uint32_t memory_size(struct context *ctx) { return (uint32_t)(((struct wasm_context *)ctx)->memory_bytes >> 16); }
static inline uint32_t memory_far_addr(struct context *ctx, uint32_t addr, int64_t offset, int *trap) {
    uint64_t sum = addr + (uint64_t)offset;
    if (sum >= ((struct wasm_context *)ctx)->memory_bytes) *trap = 1;
    return (uint32_t)sum;
}

/* Globals */
static inline uint32_t global_get_i32(struct context *ctx, uint32_t offset) { return read_32((uint8_t *)ctx + offset); }
static inline uint64_t global_get_i64(struct context *ctx, uint32_t offset) { return read_64((uint8_t *)ctx + offset); }
static inline float global_get_f32(struct context *ctx, uint32_t offset) { return from_bits_f32(read_32((uint8_t *)ctx + offset)); }
static inline double global_get_f64(struct context *ctx, uint32_t offset) { return from_bits_f64(read_64((uint8_t *)ctx + offset)); }
static inline void global_set_i32(struct context *ctx, uint32_t v, uint32_t offset) { write_32((uint8_t *)ctx + offset, v); }
static inline void global_set_i64(struct context *ctx, uint64_t v, uint32_t offset) { write_64((uint8_t *)ctx + offset, v); }
static inline void global_set_f32(struct context *ctx, float v, uint32_t offset) { write_32((uint8_t *)ctx + offset, bits_f32(v)); }
static inline void global_set_f64(struct context *ctx, double v, uint32_t offset) { write_64((uint8_t *)ctx + offset, bits_f64(v)); }

/* Tables */
static inline uint64_t table_entry(struct context *ctx, uint32_t index, uint32_t offset, uint32_t signature, int *trap) {
    const struct table *table = (const struct table *)((uint8_t *)ctx + offset);
    if (index >= table->length) { *trap = 1; return 0; }
    const struct entry *entry = &table->entries[index];
    if ((uint32_t)entry->signature != signature) {
        if (entry->signature == 0) { *trap = 2; return 0; }
        *trap = 3;
        return 0;
    }
    ((struct wasm_context *)ctx)->callee = entry;
    return (uint64_t)entry->code;
}
static inline uint64_t table_own(struct context *ctx) {
    const struct function *function = ((const struct wasm_context *)ctx)->callee->object;
    return function->context == ctx ? (uint64_t)function->code : 0;
}
static inline uint64_t table_get(struct context *ctx, uint32_t index, uint32_t offset, int *trap) {
    const struct table *table = (const struct table *)((uint8_t *)ctx + offset);
    if (index >= table->length) { *trap = 1; return 0; }
    return (uint64_t)table->entries[index].object;
}
static inline uint32_t table_size(struct context *ctx, uint32_t offset) {
    return (uint32_t)((const struct table *)((uint8_t *)ctx + offset))->length;
}

/* Globals that live elsewhere */
static inline uint8_t *far_global(struct context *ctx, uint32_t offset) { return *(uint8_t **)((uint8_t *)ctx + offset); }
static inline uint32_t global_far_get_i32(struct context *ctx, uint32_t offset) { return read_32(far_global(ctx, offset)); }
static inline uint64_t global_far_get_i64(struct context *ctx, uint32_t offset) { return read_64(far_global(ctx, offset)); }
static inline float global_far_get_f32(struct context *ctx, uint32_t offset) { return from_bits_f32(read_32(far_global(ctx, offset))); }
static inline double global_far_get_f64(struct context *ctx, uint32_t offset) { return from_bits_f64(read_64(far_global(ctx, offset))); }
static inline void global_far_set_i32(struct context *ctx, uint32_t v, uint32_t offset) { write_32(far_global(ctx, offset), v); }
static inline void global_far_set_i64(struct context *ctx, uint64_t v, uint32_t offset) { write_64(far_global(ctx, offset), v); }
static inline void global_far_set_f32(struct context *ctx, float v, uint32_t offset) { write_32(far_global(ctx, offset), bits_f32(v)); }
static inline void global_far_set_f64(struct context *ctx, double v, uint32_t offset) { write_64(far_global(ctx, offset), bits_f64(v)); }
