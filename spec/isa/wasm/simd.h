/* 128-bit vectors. A v128 is any of these; lanes are counted from the least significant. Where clang selects good code from
   ordinary vector expressions for every machine, a body is one; where it does not, x86 has a builtin and the others what
   stands after #else. */
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int64_t i64x2 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef double f64x2 __attribute__((vector_size(16)));
/* Halves. */
typedef int8_t i8x8 __attribute__((vector_size(8)));
typedef uint8_t u8x8 __attribute__((vector_size(8)));
typedef int16_t i16x4 __attribute__((vector_size(8)));
typedef uint16_t u16x4 __attribute__((vector_size(8)));
typedef int32_t i32x2 __attribute__((vector_size(8)));
typedef uint32_t u32x2 __attribute__((vector_size(8)));
typedef float f32x2 __attribute__((vector_size(8)));

static inline v128 read_128(const uint8_t *p) { return *(const v128_unaligned *)p; }
static inline void write_128(uint8_t *p, v128 v) { *(v128_unaligned *)p = v; }
/* A vector of two words that reach it through integer registers: a constant in memory differs in data, not in code. */
static inline v128 from_words(uint64_t lo, uint64_t hi) {
    __asm__("" : "+r"(lo));
    __asm__("" : "+r"(hi));
    return (v128)(u64x2){lo, hi};
}
/* Bits of `a` where those of `mask` are set, of `b` elsewhere. */
static inline v128 choose(v128 mask, v128 a, v128 b) { return (v128)(((u64x2)mask & (u64x2)a) | (~(u64x2)mask & (u64x2)b)); }
#define HALF(T, H, a) __builtin_shufflevector((T)(a), (T)(a), HALF_##H)
#define HALF_L16 0, 1, 2, 3, 4, 5, 6, 7
#define HALF_H16 8, 9, 10, 11, 12, 13, 14, 15
#define HALF_L8 0, 1, 2, 3
#define HALF_H8 4, 5, 6, 7
#define HALF_L4 0, 1
#define HALF_H4 2, 3


/* Linear memory */
static inline v128 v128_load(uint8_t *mem, uint32_t addr, uint32_t offset) { return read_128(mem + (uint64_t)addr + offset); }
static inline v128 v128_load8x8_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((i8x8)read_64(mem + (uint64_t)addr + offset), i16x8); }
static inline v128 v128_load8x8_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((u8x8)read_64(mem + (uint64_t)addr + offset), u16x8); }
static inline v128 v128_load16x4_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((i16x4)read_64(mem + (uint64_t)addr + offset), i32x4); }
static inline v128 v128_load16x4_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((u16x4)read_64(mem + (uint64_t)addr + offset), u32x4); }
static inline v128 v128_load32x2_s(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((i32x2)read_64(mem + (uint64_t)addr + offset), i64x2); }
static inline v128 v128_load32x2_u(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)__builtin_convertvector((u32x2)read_64(mem + (uint64_t)addr + offset), u64x2); }
static inline v128 v128_load8_splat(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(read_8(mem + (uint64_t)addr + offset) - (u8x16){0}); }
static inline v128 v128_load16_splat(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(read_16(mem + (uint64_t)addr + offset) - (u16x8){0}); }
static inline v128 v128_load32_splat(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(read_32(mem + (uint64_t)addr + offset) - (u32x4){0}); }
static inline v128 v128_load64_splat(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(read_64(mem + (uint64_t)addr + offset) - (u64x2){0}); }
static inline v128 v128_load32_zero(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(u32x4){read_32(mem + (uint64_t)addr + offset)}; }
static inline v128 v128_load64_zero(uint8_t *mem, uint32_t addr, uint32_t offset) { return (v128)(u64x2){read_64(mem + (uint64_t)addr + offset)}; }
static inline void v128_store(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset) { write_128(mem + (uint64_t)addr + offset, v); }
static inline v128 v128_load8_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { u8x16 r = (u8x16)v; r[lane & 15] = read_8(mem + (uint64_t)addr + offset); return (v128)r; }
static inline v128 v128_load16_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { u16x8 r = (u16x8)v; r[lane & 7] = read_16(mem + (uint64_t)addr + offset); return (v128)r; }
static inline v128 v128_load32_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { u32x4 r = (u32x4)v; r[lane & 3] = read_32(mem + (uint64_t)addr + offset); return (v128)r; }
static inline v128 v128_load64_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { u64x2 r = (u64x2)v; r[lane & 1] = read_64(mem + (uint64_t)addr + offset); return (v128)r; }
/* Without pextrb clang would store the second byte of a register, of which there are too few. */
static inline uint8_t byte_lane(v128 v, uint32_t lane) {
    uint32_t byte = ((u8x16)v)[lane & 15];
#if defined(__SSE2__) && !defined(__SSE4_1__)
    __asm__("" : "+r"(byte));
#endif
    return (uint8_t)byte;
}
static inline void v128_store8_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { write_8(mem + (uint64_t)addr + offset, byte_lane(v, lane)); }
static inline void v128_store16_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { write_16(mem + (uint64_t)addr + offset, ((u16x8)v)[lane & 7]); }
static inline void v128_store32_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { write_32(mem + (uint64_t)addr + offset, ((u32x4)v)[lane & 3]); }
static inline void v128_store64_lane(uint8_t *mem, uint32_t addr, v128 v, uint32_t offset, uint32_t lane) { write_64(mem + (uint64_t)addr + offset, ((u64x2)v)[lane & 1]); }
static inline v128 global_get_v128(struct context *ctx, uint32_t offset) { return read_128((uint8_t *)ctx + offset); }
static inline void global_set_v128(struct context *ctx, v128 v, uint32_t offset) { write_128((uint8_t *)ctx + offset, v); }
static inline v128 global_far_get_v128(struct context *ctx, uint32_t offset) { return read_128(far_global(ctx, offset)); }
static inline void global_far_set_v128(struct context *ctx, v128 v, uint32_t offset) { write_128(far_global(ctx, offset), v); }

/* Constants, lanes */
static inline v128 v128_const(int64_t lo, int64_t hi) { return from_words((uint64_t)lo, (uint64_t)hi); }
static inline v128 i8x16_splat(uint32_t a) { return (v128)((uint8_t)a - (u8x16){0}); }
static inline v128 i16x8_splat(uint32_t a) { return (v128)((uint16_t)a - (u16x8){0}); }
static inline v128 i32x4_splat(uint32_t a) { return (v128)(a - (u32x4){0}); }
static inline v128 i64x2_splat(uint64_t a) { return (v128)(a - (u64x2){0}); }
static inline v128 f32x4_splat(float a) { return (v128)(f32x4){a, a, a, a}; }
static inline v128 f64x2_splat(double a) { return (v128)(f64x2){a, a}; }
static inline uint32_t i8x16_extract_lane_s(v128 a, uint32_t lane) { return (uint32_t)(int32_t)((i8x16)a)[lane & 15]; }
static inline uint32_t i8x16_extract_lane_u(v128 a, uint32_t lane) { return ((u8x16)a)[lane & 15]; }
static inline uint32_t i16x8_extract_lane_s(v128 a, uint32_t lane) { return (uint32_t)(int32_t)((i16x8)a)[lane & 7]; }
static inline uint32_t i16x8_extract_lane_u(v128 a, uint32_t lane) { return ((u16x8)a)[lane & 7]; }
static inline uint32_t i32x4_extract_lane(v128 a, uint32_t lane) { return ((u32x4)a)[lane & 3]; }
static inline uint64_t i64x2_extract_lane(v128 a, uint32_t lane) { return ((u64x2)a)[lane & 1]; }
static inline float f32x4_extract_lane(v128 a, uint32_t lane) { return ((f32x4)a)[lane & 3]; }
static inline double f64x2_extract_lane(v128 a, uint32_t lane) { return ((f64x2)a)[lane & 1]; }
static inline v128 i8x16_replace_lane(v128 a, uint32_t b, uint32_t lane) { u8x16 r = (u8x16)a; r[lane & 15] = (uint8_t)b; return (v128)r; }
static inline v128 i16x8_replace_lane(v128 a, uint32_t b, uint32_t lane) { u16x8 r = (u16x8)a; r[lane & 7] = (uint16_t)b; return (v128)r; }
static inline v128 i32x4_replace_lane(v128 a, uint32_t b, uint32_t lane) { u32x4 r = (u32x4)a; r[lane & 3] = b; return (v128)r; }
static inline v128 i64x2_replace_lane(v128 a, uint64_t b, uint32_t lane) { u64x2 r = (u64x2)a; r[lane & 1] = b; return (v128)r; }
static inline v128 f32x4_replace_lane(v128 a, float b, uint32_t lane) { f32x4 r = (f32x4)a; r[lane & 3] = b; return (v128)r; }
static inline v128 f64x2_replace_lane(v128 a, double b, uint32_t lane) { f64x2 r = (f64x2)a; r[lane & 1] = b; return (v128)r; }

/* Bytes chosen by indices. pshufb gives 0 where an index has its highest bit set, which additions arrange for. */
#ifdef __SSSE3__
static inline v128 bytes_of(v128 a, u8x16 indices) { return (v128)__builtin_ia32_pshufb128((i8x16)a, (i8x16)indices); }
static inline v128 i8x16_swizzle(struct context *ctx, v128 a, v128 b) {
    (void)ctx;
    return bytes_of(a, __builtin_elementwise_add_sat((u8x16)b, 0x70 - (u8x16){0}));
}
static inline v128 i8x16_shuffle(struct context *ctx, v128 a, v128 b, int64_t lo, int64_t hi) {
    (void)ctx;
    u8x16 m = (u8x16)from_words((uint64_t)lo, (uint64_t)hi);
    return (v128)((u8x16)bytes_of(a, m + 0x70) | (u8x16)bytes_of(b, m - 0x10));
}
#elif defined(__aarch64__)
/* tbl gives 0 for an index from 16 on. */
static inline v128 bytes_of(v128 a, u8x16 indices) {
    v128 r;
    __asm__("tbl %0.16b, {%1.16b}, %2.16b" : "=w"(r) : "w"(a), "w"(indices));
    return r;
}
static inline v128 i8x16_swizzle(struct context *ctx, v128 a, v128 b) {
    (void)ctx;
    return bytes_of(a, (u8x16)b);
}
static inline v128 i8x16_shuffle(struct context *ctx, v128 a, v128 b, int64_t lo, int64_t hi) {
    (void)ctx;
    u8x16 m = (u8x16)from_words((uint64_t)lo, (uint64_t)hi);
    return (v128)((u8x16)bytes_of(a, m) | (u8x16)bytes_of(b, m - 0x10));
}
#else
/* Elsewhere byte by byte through the context's scratch memory: 32 bytes to choose from, then eight indices, each of which the
   byte that it names replaces. The empty assembly keeps clang from holding all of it in registers. */
static inline uint64_t eight_of(uint8_t *scratch, uint64_t indices) {
    write_64(scratch + 32, indices);
    for (int i = 32; i < 40; i++) {
        __asm__("" : : : "memory");
        scratch[i] = scratch[scratch[i]];
    }
    __asm__("" : : : "memory");
    return read_64(scratch + 32);
}
static inline v128 bytes_of_two(struct context *ctx, v128 a, v128 b, uint64_t lo, uint64_t hi) {
    uint8_t *scratch = ((struct wasm_context *)ctx)->scratch;
    write_128(scratch, a);
    write_128(scratch + 16, b);
    lo = eight_of(scratch, lo);
    hi = eight_of(scratch, hi);
    return (v128)(u64x2){lo, hi};
}
static inline v128 i8x16_swizzle(struct context *ctx, v128 a, v128 b) {
    u64x2 indices = (u64x2)__builtin_elementwise_min((u8x16)b, 16 - (u8x16){0});
    return bytes_of_two(ctx, a, (v128)(u8x16){0}, indices[0], indices[1]);
}
static inline v128 i8x16_shuffle(struct context *ctx, v128 a, v128 b, int64_t lo, int64_t hi) {
    u64x2 indices = (u64x2)((u8x16)from_words((uint64_t)lo, (uint64_t)hi) & 31);
    return bytes_of_two(ctx, a, b, indices[0], indices[1]);
}
#endif

/* Comparisons */
static inline v128 i8x16_eq(v128 a, v128 b) { return (v128)((u8x16)a == (u8x16)b); }
static inline v128 i8x16_ne(v128 a, v128 b) { return (v128)((u8x16)a != (u8x16)b); }
static inline v128 i8x16_lt_s(v128 a, v128 b) { return (v128)((i8x16)a < (i8x16)b); }
static inline v128 i8x16_lt_u(v128 a, v128 b) { return (v128)((u8x16)a < (u8x16)b); }
static inline v128 i8x16_gt_s(v128 a, v128 b) { return (v128)((i8x16)a > (i8x16)b); }
static inline v128 i8x16_gt_u(v128 a, v128 b) { return (v128)((u8x16)a > (u8x16)b); }
static inline v128 i8x16_le_s(v128 a, v128 b) { return (v128)((i8x16)a <= (i8x16)b); }
static inline v128 i8x16_le_u(v128 a, v128 b) { return (v128)((u8x16)a <= (u8x16)b); }
static inline v128 i8x16_ge_s(v128 a, v128 b) { return (v128)((i8x16)a >= (i8x16)b); }
static inline v128 i8x16_ge_u(v128 a, v128 b) { return (v128)((u8x16)a >= (u8x16)b); }
static inline v128 i16x8_eq(v128 a, v128 b) { return (v128)((u16x8)a == (u16x8)b); }
static inline v128 i16x8_ne(v128 a, v128 b) { return (v128)((u16x8)a != (u16x8)b); }
static inline v128 i16x8_lt_s(v128 a, v128 b) { return (v128)((i16x8)a < (i16x8)b); }
static inline v128 i16x8_lt_u(v128 a, v128 b) { return (v128)((u16x8)a < (u16x8)b); }
static inline v128 i16x8_gt_s(v128 a, v128 b) { return (v128)((i16x8)a > (i16x8)b); }
static inline v128 i16x8_gt_u(v128 a, v128 b) { return (v128)((u16x8)a > (u16x8)b); }
static inline v128 i16x8_le_s(v128 a, v128 b) { return (v128)((i16x8)a <= (i16x8)b); }
static inline v128 i16x8_le_u(v128 a, v128 b) { return (v128)((u16x8)a <= (u16x8)b); }
static inline v128 i16x8_ge_s(v128 a, v128 b) { return (v128)((i16x8)a >= (i16x8)b); }
static inline v128 i16x8_ge_u(v128 a, v128 b) { return (v128)((u16x8)a >= (u16x8)b); }
static inline v128 i32x4_eq(v128 a, v128 b) { return (v128)((u32x4)a == (u32x4)b); }
static inline v128 i32x4_ne(v128 a, v128 b) { return (v128)((u32x4)a != (u32x4)b); }
static inline v128 i32x4_lt_s(v128 a, v128 b) { return (v128)((i32x4)a < (i32x4)b); }
static inline v128 i32x4_lt_u(v128 a, v128 b) { return (v128)((u32x4)a < (u32x4)b); }
static inline v128 i32x4_gt_s(v128 a, v128 b) { return (v128)((i32x4)a > (i32x4)b); }
static inline v128 i32x4_gt_u(v128 a, v128 b) { return (v128)((u32x4)a > (u32x4)b); }
static inline v128 i32x4_le_s(v128 a, v128 b) { return (v128)((i32x4)a <= (i32x4)b); }
static inline v128 i32x4_le_u(v128 a, v128 b) { return (v128)((u32x4)a <= (u32x4)b); }
static inline v128 i32x4_ge_s(v128 a, v128 b) { return (v128)((i32x4)a >= (i32x4)b); }
static inline v128 i32x4_ge_u(v128 a, v128 b) { return (v128)((u32x4)a >= (u32x4)b); }
static inline v128 i64x2_eq(v128 a, v128 b) { return (v128)((u64x2)a == (u64x2)b); }
static inline v128 i64x2_ne(v128 a, v128 b) { return (v128)((u64x2)a != (u64x2)b); }
static inline v128 i64x2_lt_s(v128 a, v128 b) { return (v128)((i64x2)a < (i64x2)b); }
static inline v128 i64x2_gt_s(v128 a, v128 b) { return (v128)((i64x2)a > (i64x2)b); }
static inline v128 i64x2_le_s(v128 a, v128 b) { return (v128)((i64x2)a <= (i64x2)b); }
static inline v128 i64x2_ge_s(v128 a, v128 b) { return (v128)((i64x2)a >= (i64x2)b); }
static inline v128 f32x4_eq(v128 a, v128 b) { return (v128)((f32x4)a == (f32x4)b); }
static inline v128 f32x4_ne(v128 a, v128 b) { return (v128)((f32x4)a != (f32x4)b); }
static inline v128 f32x4_lt(v128 a, v128 b) { return (v128)((f32x4)a < (f32x4)b); }
static inline v128 f32x4_gt(v128 a, v128 b) { return (v128)((f32x4)a > (f32x4)b); }
static inline v128 f32x4_le(v128 a, v128 b) { return (v128)((f32x4)a <= (f32x4)b); }
static inline v128 f32x4_ge(v128 a, v128 b) { return (v128)((f32x4)a >= (f32x4)b); }
static inline v128 f64x2_eq(v128 a, v128 b) { return (v128)((f64x2)a == (f64x2)b); }
static inline v128 f64x2_ne(v128 a, v128 b) { return (v128)((f64x2)a != (f64x2)b); }
static inline v128 f64x2_lt(v128 a, v128 b) { return (v128)((f64x2)a < (f64x2)b); }
static inline v128 f64x2_gt(v128 a, v128 b) { return (v128)((f64x2)a > (f64x2)b); }
static inline v128 f64x2_le(v128 a, v128 b) { return (v128)((f64x2)a <= (f64x2)b); }
static inline v128 f64x2_ge(v128 a, v128 b) { return (v128)((f64x2)a >= (f64x2)b); }

/* Bits */
static inline v128 v128_not(v128 a) { return (v128)~(u64x2)a; }
static inline v128 v128_and(v128 a, v128 b) { return (v128)((u64x2)a & (u64x2)b); }
static inline v128 v128_andnot(v128 a, v128 b) { return (v128)((u64x2)a & ~(u64x2)b); }
static inline v128 v128_or(v128 a, v128 b) { return (v128)((u64x2)a | (u64x2)b); }
static inline v128 v128_xor(v128 a, v128 b) { return (v128)((u64x2)a ^ (u64x2)b); }
static inline v128 v128_bitselect(v128 a, v128 b, v128 c) { return choose(c, a, b); }
#if defined(__SSE2__)
static inline uint32_t signs_8(i8x16 a) { return (uint32_t)__builtin_ia32_pmovmskb128(a); }
#ifdef __SSE4_1__
static inline uint32_t v128_any_true(v128 a) { return !__builtin_ia32_ptestz128((i64x2)a, (i64x2)a); }
#else
static inline uint32_t v128_any_true(v128 a) { return signs_8((i8x16)a == 0) != 0xffff; }
#endif
static inline uint32_t i8x16_all_true(v128 a) { return signs_8((i8x16)a == 0) == 0; }
static inline uint32_t i16x8_all_true(v128 a) { return signs_8((i8x16)((i16x8)a == 0)) == 0; }
static inline uint32_t i32x4_all_true(v128 a) { return signs_8((i8x16)((i32x4)a == 0)) == 0; }
static inline uint32_t i64x2_all_true(v128 a) { return signs_8((i8x16)((i64x2)a == 0)) == 0; }
static inline uint32_t i8x16_bitmask(v128 a) { return signs_8((i8x16)a); }
static inline uint32_t i16x8_bitmask(v128 a) { return signs_8(__builtin_ia32_packsswb128((i16x8)a, (i16x8){0})); }
static inline uint32_t i32x4_bitmask(v128 a) { return (uint32_t)__builtin_ia32_movmskps((f32x4)a); }
static inline uint32_t i64x2_bitmask(v128 a) { return (uint32_t)__builtin_ia32_movmskpd((f64x2)a); }
#else
static inline uint32_t v128_any_true(v128 a) { return __builtin_reduce_or((u64x2)a) != 0; }
static inline uint32_t i8x16_all_true(v128 a) { return __builtin_reduce_or((i8x16)a == 0) == 0; }
static inline uint32_t i16x8_all_true(v128 a) { return __builtin_reduce_or((i16x8)a == 0) == 0; }
static inline uint32_t i32x4_all_true(v128 a) { return __builtin_reduce_or((i32x4)a == 0) == 0; }
static inline uint32_t i64x2_all_true(v128 a) { return __builtin_reduce_or((i64x2)a == 0) == 0; }
static inline uint32_t i8x16_bitmask(v128 a) { uint32_t r = 0; for (int i = 0; i < 16; i++) r |= (uint32_t)(((i8x16)a)[i] < 0) << i; return r; }
static inline uint32_t i16x8_bitmask(v128 a) { uint32_t r = 0; for (int i = 0; i < 8; i++) r |= (uint32_t)(((i16x8)a)[i] < 0) << i; return r; }
static inline uint32_t i32x4_bitmask(v128 a) { uint32_t r = 0; for (int i = 0; i < 4; i++) r |= (uint32_t)(((i32x4)a)[i] < 0) << i; return r; }
static inline uint32_t i64x2_bitmask(v128 a) { uint32_t r = 0; for (int i = 0; i < 2; i++) r |= (uint32_t)(((i64x2)a)[i] < 0) << i; return r; }
#endif

/* Widening and narrowing */
static inline v128 i16x8_extend_low_i8x16_s(v128 a) { return (v128)__builtin_convertvector(HALF(i8x16, L16, a), i16x8); }
static inline v128 i16x8_extend_low_i8x16_u(v128 a) { return (v128)__builtin_convertvector(HALF(u8x16, L16, a), u16x8); }
static inline v128 i16x8_extend_high_i8x16_s(v128 a) { return (v128)__builtin_convertvector(HALF(i8x16, H16, a), i16x8); }
static inline v128 i16x8_extend_high_i8x16_u(v128 a) { return (v128)__builtin_convertvector(HALF(u8x16, H16, a), u16x8); }
static inline v128 i32x4_extend_low_i16x8_s(v128 a) { return (v128)__builtin_convertvector(HALF(i16x8, L8, a), i32x4); }
static inline v128 i32x4_extend_low_i16x8_u(v128 a) { return (v128)__builtin_convertvector(HALF(u16x8, L8, a), u32x4); }
static inline v128 i32x4_extend_high_i16x8_s(v128 a) { return (v128)__builtin_convertvector(HALF(i16x8, H8, a), i32x4); }
static inline v128 i32x4_extend_high_i16x8_u(v128 a) { return (v128)__builtin_convertvector(HALF(u16x8, H8, a), u32x4); }
static inline v128 i64x2_extend_low_i32x4_s(v128 a) { return (v128)__builtin_convertvector(HALF(i32x4, L4, a), i64x2); }
static inline v128 i64x2_extend_low_i32x4_u(v128 a) { return (v128)__builtin_convertvector(HALF(u32x4, L4, a), u64x2); }
static inline v128 i64x2_extend_high_i32x4_s(v128 a) { return (v128)__builtin_convertvector(HALF(i32x4, H4, a), i64x2); }
static inline v128 i64x2_extend_high_i32x4_u(v128 a) { return (v128)__builtin_convertvector(HALF(u32x4, H4, a), u64x2); }
static inline v128 i16x8_extmul_low_i8x16_s(v128 a, v128 b) { return (v128)((u16x8)i16x8_extend_low_i8x16_s(a) * (u16x8)i16x8_extend_low_i8x16_s(b)); }
static inline v128 i16x8_extmul_low_i8x16_u(v128 a, v128 b) { return (v128)((u16x8)i16x8_extend_low_i8x16_u(a) * (u16x8)i16x8_extend_low_i8x16_u(b)); }
static inline v128 i16x8_extmul_high_i8x16_s(v128 a, v128 b) { return (v128)((u16x8)i16x8_extend_high_i8x16_s(a) * (u16x8)i16x8_extend_high_i8x16_s(b)); }
static inline v128 i16x8_extmul_high_i8x16_u(v128 a, v128 b) { return (v128)((u16x8)i16x8_extend_high_i8x16_u(a) * (u16x8)i16x8_extend_high_i8x16_u(b)); }
static inline v128 i32x4_extmul_low_i16x8_s(v128 a, v128 b) { return (v128)((u32x4)i32x4_extend_low_i16x8_s(a) * (u32x4)i32x4_extend_low_i16x8_s(b)); }
static inline v128 i32x4_extmul_low_i16x8_u(v128 a, v128 b) { return (v128)((u32x4)i32x4_extend_low_i16x8_u(a) * (u32x4)i32x4_extend_low_i16x8_u(b)); }
static inline v128 i32x4_extmul_high_i16x8_s(v128 a, v128 b) { return (v128)((u32x4)i32x4_extend_high_i16x8_s(a) * (u32x4)i32x4_extend_high_i16x8_s(b)); }
static inline v128 i32x4_extmul_high_i16x8_u(v128 a, v128 b) { return (v128)((u32x4)i32x4_extend_high_i16x8_u(a) * (u32x4)i32x4_extend_high_i16x8_u(b)); }
static inline v128 i64x2_extmul_low_i32x4_s(v128 a, v128 b) { return (v128)((u64x2)i64x2_extend_low_i32x4_s(a) * (u64x2)i64x2_extend_low_i32x4_s(b)); }
static inline v128 i64x2_extmul_low_i32x4_u(v128 a, v128 b) { return (v128)((u64x2)i64x2_extend_low_i32x4_u(a) * (u64x2)i64x2_extend_low_i32x4_u(b)); }
static inline v128 i64x2_extmul_high_i32x4_s(v128 a, v128 b) { return (v128)((u64x2)i64x2_extend_high_i32x4_s(a) * (u64x2)i64x2_extend_high_i32x4_s(b)); }
static inline v128 i64x2_extmul_high_i32x4_u(v128 a, v128 b) { return (v128)((u64x2)i64x2_extend_high_i32x4_u(a) * (u64x2)i64x2_extend_high_i32x4_u(b)); }
/* Odd lanes are the upper halves of the wider ones, even lanes the lower. */
static inline v128 i16x8_extadd_pairwise_i8x16_s(v128 a) { return (v128)(((i16x8)((u16x8)a << 8) >> 8) + ((i16x8)a >> 8)); }
static inline v128 i16x8_extadd_pairwise_i8x16_u(v128 a) { return (v128)(((u16x8)a & 0xff) + ((u16x8)a >> 8)); }
static inline v128 i32x4_extadd_pairwise_i16x8_u(v128 a) { return (v128)(((u32x4)a & 0xffff) + ((u32x4)a >> 16)); }
#ifdef __SSE2__
static inline v128 i32x4_extadd_pairwise_i16x8_s(v128 a) { return (v128)__builtin_ia32_pmaddwd128((i16x8)a, 1 - (i16x8){0}); }
static inline v128 i32x4_dot_i16x8_s(v128 a, v128 b) { return (v128)__builtin_ia32_pmaddwd128((i16x8)a, (i16x8)b); }
static inline v128 i8x16_narrow_i16x8_s(v128 a, v128 b) { return (v128)__builtin_ia32_packsswb128((i16x8)a, (i16x8)b); }
static inline v128 i8x16_narrow_i16x8_u(v128 a, v128 b) { return (v128)__builtin_ia32_packuswb128((i16x8)a, (i16x8)b); }
static inline v128 i16x8_narrow_i32x4_s(v128 a, v128 b) { return (v128)__builtin_ia32_packssdw128((i32x4)a, (i32x4)b); }
#else
static inline v128 i32x4_extadd_pairwise_i16x8_s(v128 a) { return (v128)(((i32x4)((u32x4)a << 16) >> 16) + ((i32x4)a >> 16)); }
static inline v128 i32x4_dot_i16x8_s(v128 a, v128 b) {
    u32x4 low = (u32x4)i32x4_extmul_low_i16x8_s(a, b), high = (u32x4)i32x4_extmul_high_i16x8_s(a, b);
    return (v128)(__builtin_shufflevector(low, high, 0, 2, 4, 6) + __builtin_shufflevector(low, high, 1, 3, 5, 7));
}
static inline i16x8 within_i16(v128 a, int lo, int hi) {
    return __builtin_elementwise_min(__builtin_elementwise_max((i16x8)a, (int16_t)lo - (i16x8){0}), (int16_t)hi - (i16x8){0});
}
static inline i32x4 within_i32(v128 a, int lo, int hi) {
    return __builtin_elementwise_min(__builtin_elementwise_max((i32x4)a, lo - (i32x4){0}), hi - (i32x4){0});
}
static inline v128 even_bytes(i16x8 a, i16x8 b) {
    return (v128)__builtin_shufflevector((i8x16)a, (i8x16)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
static inline v128 even_words(i32x4 a, i32x4 b) { return (v128)__builtin_shufflevector((i16x8)a, (i16x8)b, 0, 2, 4, 6, 8, 10, 12, 14); }
static inline v128 i8x16_narrow_i16x8_s(v128 a, v128 b) { return even_bytes(within_i16(a, -128, 127), within_i16(b, -128, 127)); }
static inline v128 i8x16_narrow_i16x8_u(v128 a, v128 b) { return even_bytes(within_i16(a, 0, 255), within_i16(b, 0, 255)); }
static inline v128 i16x8_narrow_i32x4_s(v128 a, v128 b) { return even_words(within_i32(a, -32768, 32767), within_i32(b, -32768, 32767)); }
#endif
#if defined(__SSE4_1__)
static inline v128 i16x8_narrow_i32x4_u(v128 a, v128 b) { return (v128)__builtin_ia32_packusdw128((i32x4)a, (i32x4)b); }
#elif defined(__SSE2__)
/* Nothing is below 0 and 0 lies where signed saturation begins, so that it does what unsigned saturation does. */
static inline i32x4 biased(v128 a) { return (i32x4)((u32x4)a & ~(u32x4)((i32x4)a >> 31)) - 0x8000; }
static inline v128 i16x8_narrow_i32x4_u(v128 a, v128 b) {
    return (v128)(__builtin_ia32_packssdw128(biased(a), biased(b)) ^ INT16_MIN);
}
#else
static inline v128 i16x8_narrow_i32x4_u(v128 a, v128 b) { return even_words(within_i32(a, 0, 65535), within_i32(b, 0, 65535)); }
#endif

/* Integer arithmetic */
static inline v128 i8x16_abs(v128 a) { return (v128)__builtin_elementwise_abs((i8x16)a); }
static inline v128 i8x16_neg(v128 a) { return (v128)-(u8x16)a; }
static inline v128 i8x16_shl(v128 a, uint32_t b) { return (v128)((u8x16)a << (uint8_t)(b & 7)); }
static inline v128 i8x16_shr_u(v128 a, uint32_t b) { return (v128)((u8x16)a >> (uint8_t)(b & 7)); }
static inline v128 i8x16_add(v128 a, v128 b) { return (v128)((u8x16)a + (u8x16)b); }
static inline v128 i8x16_sub(v128 a, v128 b) { return (v128)((u8x16)a - (u8x16)b); }
static inline v128 i8x16_add_sat_s(v128 a, v128 b) { return (v128)__builtin_elementwise_add_sat((i8x16)a, (i8x16)b); }
static inline v128 i8x16_add_sat_u(v128 a, v128 b) { return (v128)__builtin_elementwise_add_sat((u8x16)a, (u8x16)b); }
static inline v128 i8x16_sub_sat_s(v128 a, v128 b) { return (v128)__builtin_elementwise_sub_sat((i8x16)a, (i8x16)b); }
static inline v128 i8x16_sub_sat_u(v128 a, v128 b) { return (v128)__builtin_elementwise_sub_sat((u8x16)a, (u8x16)b); }
static inline v128 i8x16_avgr_u(v128 a, v128 b) { return (v128)(((u8x16)a | (u8x16)b) - (((u8x16)a ^ (u8x16)b) >> 1)); }
static inline v128 i8x16_min_s(v128 a, v128 b) { return (v128)__builtin_elementwise_min((i8x16)a, (i8x16)b); }
static inline v128 i8x16_min_u(v128 a, v128 b) { return (v128)__builtin_elementwise_min((u8x16)a, (u8x16)b); }
static inline v128 i8x16_max_s(v128 a, v128 b) { return (v128)__builtin_elementwise_max((i8x16)a, (i8x16)b); }
static inline v128 i8x16_max_u(v128 a, v128 b) { return (v128)__builtin_elementwise_max((u8x16)a, (u8x16)b); }
static inline v128 i16x8_abs(v128 a) { return (v128)__builtin_elementwise_abs((i16x8)a); }
static inline v128 i16x8_neg(v128 a) { return (v128)-(u16x8)a; }
static inline v128 i16x8_shl(v128 a, uint32_t b) { return (v128)((u16x8)a << (uint16_t)(b & 15)); }
static inline v128 i16x8_shr_s(v128 a, uint32_t b) { return (v128)((i16x8)a >> (int16_t)(b & 15)); }
static inline v128 i16x8_shr_u(v128 a, uint32_t b) { return (v128)((u16x8)a >> (uint16_t)(b & 15)); }
static inline v128 i16x8_add(v128 a, v128 b) { return (v128)((u16x8)a + (u16x8)b); }
static inline v128 i16x8_sub(v128 a, v128 b) { return (v128)((u16x8)a - (u16x8)b); }
static inline v128 i16x8_mul(v128 a, v128 b) { return (v128)((u16x8)a * (u16x8)b); }
static inline v128 i16x8_add_sat_s(v128 a, v128 b) { return (v128)__builtin_elementwise_add_sat((i16x8)a, (i16x8)b); }
static inline v128 i16x8_add_sat_u(v128 a, v128 b) { return (v128)__builtin_elementwise_add_sat((u16x8)a, (u16x8)b); }
static inline v128 i16x8_sub_sat_s(v128 a, v128 b) { return (v128)__builtin_elementwise_sub_sat((i16x8)a, (i16x8)b); }
static inline v128 i16x8_sub_sat_u(v128 a, v128 b) { return (v128)__builtin_elementwise_sub_sat((u16x8)a, (u16x8)b); }
static inline v128 i16x8_avgr_u(v128 a, v128 b) { return (v128)(((u16x8)a | (u16x8)b) - (((u16x8)a ^ (u16x8)b) >> 1)); }
static inline v128 i16x8_min_s(v128 a, v128 b) { return (v128)__builtin_elementwise_min((i16x8)a, (i16x8)b); }
static inline v128 i16x8_min_u(v128 a, v128 b) { return (v128)__builtin_elementwise_min((u16x8)a, (u16x8)b); }
static inline v128 i16x8_max_s(v128 a, v128 b) { return (v128)__builtin_elementwise_max((i16x8)a, (i16x8)b); }
static inline v128 i16x8_max_u(v128 a, v128 b) { return (v128)__builtin_elementwise_max((u16x8)a, (u16x8)b); }
static inline v128 i32x4_abs(v128 a) { return (v128)__builtin_elementwise_abs((i32x4)a); }
static inline v128 i32x4_neg(v128 a) { return (v128)-(u32x4)a; }
static inline v128 i32x4_shl(v128 a, uint32_t b) { return (v128)((u32x4)a << (b & 31)); }
static inline v128 i32x4_shr_s(v128 a, uint32_t b) { return (v128)((i32x4)a >> (int32_t)(b & 31)); }
static inline v128 i32x4_shr_u(v128 a, uint32_t b) { return (v128)((u32x4)a >> (b & 31)); }
static inline v128 i32x4_add(v128 a, v128 b) { return (v128)((u32x4)a + (u32x4)b); }
static inline v128 i32x4_sub(v128 a, v128 b) { return (v128)((u32x4)a - (u32x4)b); }
static inline v128 i32x4_mul(v128 a, v128 b) { return (v128)((u32x4)a * (u32x4)b); }
static inline v128 i32x4_min_s(v128 a, v128 b) { return (v128)__builtin_elementwise_min((i32x4)a, (i32x4)b); }
static inline v128 i32x4_min_u(v128 a, v128 b) { return (v128)__builtin_elementwise_min((u32x4)a, (u32x4)b); }
static inline v128 i32x4_max_s(v128 a, v128 b) { return (v128)__builtin_elementwise_max((i32x4)a, (i32x4)b); }
static inline v128 i32x4_max_u(v128 a, v128 b) { return (v128)__builtin_elementwise_max((u32x4)a, (u32x4)b); }
static inline v128 i64x2_abs(v128 a) { return (v128)__builtin_elementwise_abs((i64x2)a); }
static inline v128 i64x2_neg(v128 a) { return (v128)-(u64x2)a; }
static inline v128 i64x2_shl(v128 a, uint32_t b) { return (v128)((u64x2)a << (uint64_t)(b & 63)); }
static inline v128 i64x2_shr_s(v128 a, uint32_t b) { return (v128)((i64x2)a >> (int64_t)(b & 63)); }
static inline v128 i64x2_shr_u(v128 a, uint32_t b) { return (v128)((u64x2)a >> (uint64_t)(b & 63)); }
static inline v128 i64x2_add(v128 a, v128 b) { return (v128)((u64x2)a + (u64x2)b); }
static inline v128 i64x2_sub(v128 a, v128 b) { return (v128)((u64x2)a - (u64x2)b); }
static inline v128 i64x2_mul(v128 a, v128 b) { return (v128)((u64x2)a * (u64x2)b); }
/* x86 shifts no bytes; in the upper halves of words they may be shifted as words are. */
static inline v128 i8x16_shr_s(v128 a, uint32_t b) {
    const int16_t n = (int16_t)(8 + (b & 7));
    i8x16 low = __builtin_shufflevector((i8x16)a, (i8x16)a, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    i8x16 high = __builtin_shufflevector((i8x16)a, (i8x16)a, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    return i8x16_narrow_i16x8_s((v128)((i16x8)low >> n), (v128)((i16x8)high >> n));
}
#ifdef __SSSE3__
/* pshufb looks at the low four bits and the highest, and clang would make one mask for both a constant of one byte. */
static inline v128 i8x16_popcnt(v128 a) {
    const u8x16 counts = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    return (v128)((u8x16)bytes_of((v128)counts, (u8x16)a & 0x7f) + (u8x16)bytes_of((v128)counts, (u8x16)a >> 4));
}
/* Only -1 squared is not below 1, and comes out as -1. */
static inline v128 i16x8_q15mulr_sat_s(v128 a, v128 b) {
    i16x8 r = __builtin_ia32_pmulhrsw128((i16x8)a, (i16x8)b);
    return (v128)(r ^ (r == INT16_MIN));
}
#else
/* Sums of neighbouring bits, then pairs, then fours. */
static inline v128 i8x16_popcnt(v128 a) {
    u8x16 n = (u8x16)a;
    n -= n >> 1 & 0x55;
    n = (n & 0x33) + (n >> 2 & 0x33);
    return (v128)((n + (n >> 4)) & 15);
}
static inline v128 rounded_q15(v128 product) { return (v128)((i32x4)((u32x4)product + 0x4000) >> 15); }
static inline v128 i16x8_q15mulr_sat_s(v128 a, v128 b) {
    return i16x8_narrow_i32x4_s(rounded_q15(i32x4_extmul_low_i16x8_s(a, b)), rounded_q15(i32x4_extmul_high_i16x8_s(a, b)));
}
#endif

/* Floats */
static inline v128 f32x4_abs(v128 a) { return (v128)((u32x4)a & ~(u32x4){0} >> 1); }
static inline v128 f32x4_neg(v128 a) { return (v128)((u32x4)a ^ 0x80000000); }
static inline v128 f32x4_sqrt(v128 a) { return (v128)__builtin_elementwise_sqrt((f32x4)a); }
static inline v128 f32x4_add(v128 a, v128 b) { return (v128)((f32x4)a + (f32x4)b); }
static inline v128 f32x4_sub(v128 a, v128 b) { return (v128)((f32x4)a - (f32x4)b); }
static inline v128 f32x4_mul(v128 a, v128 b) { return (v128)((f32x4)a * (f32x4)b); }
static inline v128 f32x4_div(v128 a, v128 b) { return (v128)((f32x4)a / (f32x4)b); }
static inline v128 f32x4_pmin(v128 a, v128 b) { return choose((v128)((f32x4)b < (f32x4)a), b, a); }
static inline v128 f32x4_pmax(v128 a, v128 b) { return choose((v128)((f32x4)a < (f32x4)b), b, a); }
static inline v128 f64x2_abs(v128 a) { return (v128)((u64x2)a & ~(u64x2){0} >> 1); }
static inline v128 f64x2_neg(v128 a) { return (v128)((u64x2)a ^ 0x8000000000000000); }
static inline v128 f64x2_sqrt(v128 a) { return (v128)__builtin_elementwise_sqrt((f64x2)a); }
static inline v128 f64x2_add(v128 a, v128 b) { return (v128)((f64x2)a + (f64x2)b); }
static inline v128 f64x2_sub(v128 a, v128 b) { return (v128)((f64x2)a - (f64x2)b); }
static inline v128 f64x2_mul(v128 a, v128 b) { return (v128)((f64x2)a * (f64x2)b); }
static inline v128 f64x2_div(v128 a, v128 b) { return (v128)((f64x2)a / (f64x2)b); }
static inline v128 f64x2_pmin(v128 a, v128 b) { return choose((v128)((f64x2)b < (f64x2)a), b, a); }
static inline v128 f64x2_pmax(v128 a, v128 b) { return choose((v128)((f64x2)a < (f64x2)b), b, a); }
/* Two one-sided minima differ only where the operands are equal, and there -0 wins; a sum with NaN is NaN. */
static inline v128 f32x4_or_nan(v128 r, v128 a, v128 b) {
    return choose((v128)(((f32x4)a != (f32x4)a) | ((f32x4)b != (f32x4)b)), f32x4_add(a, b), r);
}
static inline v128 f32x4_min(v128 a, v128 b) { return f32x4_or_nan((v128)((u32x4)f32x4_pmin(a, b) | (u32x4)f32x4_pmin(b, a)), a, b); }
static inline v128 f32x4_max(v128 a, v128 b) { return f32x4_or_nan((v128)((u32x4)f32x4_pmax(a, b) & (u32x4)f32x4_pmax(b, a)), a, b); }
static inline v128 f64x2_or_nan(v128 r, v128 a, v128 b) {
    return choose((v128)(((f64x2)a != (f64x2)a) | ((f64x2)b != (f64x2)b)), f64x2_add(a, b), r);
}
static inline v128 f64x2_min(v128 a, v128 b) { return f64x2_or_nan((v128)((u64x2)f64x2_pmin(a, b) | (u64x2)f64x2_pmin(b, a)), a, b); }
static inline v128 f64x2_max(v128 a, v128 b) { return f64x2_or_nan((v128)((u64x2)f64x2_pmax(a, b) & (u64x2)f64x2_pmax(b, a)), a, b); }
#ifdef ROUNDS
static inline v128 f32x4_ceil(v128 a) { return (v128)__builtin_elementwise_ceil((f32x4)a); }
static inline v128 f32x4_floor(v128 a) { return (v128)__builtin_elementwise_floor((f32x4)a); }
static inline v128 f32x4_trunc(v128 a) { return (v128)__builtin_elementwise_trunc((f32x4)a); }
static inline v128 f32x4_nearest(v128 a) { return (v128)__builtin_elementwise_roundeven((f32x4)a); }
static inline v128 f64x2_ceil(v128 a) { return (v128)__builtin_elementwise_ceil((f64x2)a); }
static inline v128 f64x2_floor(v128 a) { return (v128)__builtin_elementwise_floor((f64x2)a); }
static inline v128 f64x2_trunc(v128 a) { return (v128)__builtin_elementwise_trunc((f64x2)a); }
static inline v128 f64x2_nearest(v128 a) { return (v128)__builtin_elementwise_roundeven((f64x2)a); }
#else
/* Adding and subtracting the least power of two that leaves no bits for a fraction rounds as addition does; from there a
   comparison tells whether to step down or up. What is not below that power is integral already, or NaN, which has to
   become quiet, as a sum does. */
static inline v128 f32x4_signed(v128 r, v128 a) { return (v128)((u32x4)r | ((u32x4)a & 0x80000000u)); }
static inline v128 f32x4_ones(v128 mask) { return (v128)((u32x4)mask & (u32x4)(1.0f - (f32x4){0})); }
static inline v128 f32x4_if_small(v128 r, v128 a) {
    f32x4 m = (f32x4)f32x4_abs(a);
    v128 large = choose((v128)((f32x4)a == (f32x4)a), a, f32x4_add(a, a));
    return choose((v128)(m < 0x1p23f), f32x4_signed(r, a), large);
}
static inline v128 f32x4_magnitude(v128 a) { return (v128)((f32x4)f32x4_abs(a) + 0x1p23f - 0x1p23f); }
static inline v128 f32x4_nearest(v128 a) { return f32x4_if_small(f32x4_magnitude(a), a); }
static inline v128 f32x4_trunc(v128 a) {
    v128 m = f32x4_magnitude(a);
    return f32x4_if_small(f32x4_sub(m, f32x4_ones(f32x4_gt(m, f32x4_abs(a)))), a);
}
static inline v128 f32x4_floor(v128 a) {
    v128 r = f32x4_signed(f32x4_magnitude(a), a);
    return f32x4_if_small(f32x4_sub(r, f32x4_ones(f32x4_gt(r, a))), a);
}
static inline v128 f32x4_ceil(v128 a) {
    v128 r = f32x4_signed(f32x4_magnitude(a), a);
    return f32x4_if_small(f32x4_add(r, f32x4_ones(f32x4_lt(r, a))), a);
}
static inline v128 f64x2_signed(v128 r, v128 a) { return (v128)((u64x2)r | ((u64x2)a & 0x8000000000000000u)); }
static inline v128 f64x2_ones(v128 mask) { return (v128)((u64x2)mask & (u64x2)(1.0 - (f64x2){0})); }
static inline v128 f64x2_if_small(v128 r, v128 a) {
    f64x2 m = (f64x2)f64x2_abs(a);
    v128 large = choose((v128)((f64x2)a == (f64x2)a), a, f64x2_add(a, a));
    return choose((v128)(m < 0x1p52), f64x2_signed(r, a), large);
}
static inline v128 f64x2_magnitude(v128 a) { return (v128)((f64x2)f64x2_abs(a) + 0x1p52 - 0x1p52); }
static inline v128 f64x2_nearest(v128 a) { return f64x2_if_small(f64x2_magnitude(a), a); }
static inline v128 f64x2_trunc(v128 a) {
    v128 m = f64x2_magnitude(a);
    return f64x2_if_small(f64x2_sub(m, f64x2_ones(f64x2_gt(m, f64x2_abs(a)))), a);
}
static inline v128 f64x2_floor(v128 a) {
    v128 r = f64x2_signed(f64x2_magnitude(a), a);
    return f64x2_if_small(f64x2_sub(r, f64x2_ones(f64x2_gt(r, a))), a);
}
static inline v128 f64x2_ceil(v128 a) {
    v128 r = f64x2_signed(f64x2_magnitude(a), a);
    return f64x2_if_small(f64x2_add(r, f64x2_ones(f64x2_lt(r, a))), a);
}
#endif

/* Conversions */
static inline v128 f32x4_convert_i32x4_s(v128 a) { return (v128)__builtin_convertvector((i32x4)a, f32x4); }
static inline v128 f32x4_convert_i32x4_u(v128 a) { return (v128)__builtin_convertvector((u32x4)a, f32x4); }
static inline v128 f64x2_convert_low_i32x4_s(v128 a) { return (v128)__builtin_convertvector(HALF(i32x4, L4, a), f64x2); }
static inline v128 f64x2_convert_low_i32x4_u(v128 a) { return (v128)__builtin_convertvector(HALF(u32x4, L4, a), f64x2); }
static inline v128 f64x2_promote_low_f32x4(v128 a) { return (v128)__builtin_convertvector(HALF(f32x4, L4, a), f64x2); }
static inline v128 f32x4_demote_f64x2_zero(v128 a) {
    return (v128)__builtin_shufflevector(__builtin_convertvector((f64x2)a, f32x2), (f32x2){0}, 0, 1, 2, 3);
}
#ifdef __SSE2__
/* The instructions give INT32_MIN for what does not fit, NaN included. */
static inline v128 i32x4_trunc_sat_f32x4_s(v128 a) {
    i32x4 number = (f32x4)a == (f32x4)a;
    return (v128)(__builtin_ia32_cvttps2dq((f32x4)((i32x4)a & number)) ^ ((f32x4)a >= 0x1p31f));
}
/* From 2^31 on, the result is INT32_MIN plus what is above; above 2^32, INT32_MIN plus INT32_MAX. */
static inline v128 i32x4_trunc_sat_f32x4_u(v128 a) {
    f32x4 positive = (f32x4)choose((v128)((f32x4)a > 0), a, (v128)(f32x4){0});
    f32x4 above = positive - 0x1p31f;
    i32x4 rest = (__builtin_ia32_cvttps2dq(above) ^ (above >= 0x1p31f)) & (above >= 0);
    return (v128)((u32x4)__builtin_ia32_cvttps2dq(positive) + (u32x4)rest);
}
static inline v128 i32x4_trunc_sat_f64x2_s_zero(v128 a) {
    f64x2 number = (f64x2)((i64x2)a & ((f64x2)a == (f64x2)a));
    return (v128)__builtin_ia32_cvttpd2dq((f64x2)choose((v128)(number < 2147483647.0), (v128)number, (v128)(2147483647.0 - (f64x2){0})));
}
/* Of a number from 2^52 on the low bits are the integer. */
static inline v128 i32x4_trunc_sat_f64x2_u_zero(v128 a) {
    v128 most = (v128)(4294967295.0 - (f64x2){0});
    v128 positive = choose((v128)((f64x2)a > 0), a, (v128)(f64x2){0});
    v128 whole = f64x2_trunc(choose((v128)((f64x2)positive < (f64x2)most), positive, most));
    return (v128)__builtin_shufflevector((i32x4)((f64x2)whole + 0x1p52), (i32x4){0}, 0, 2, 4, 5);
}
#elif defined(__aarch64__)
/* The instructions saturate, and make NaN 0; the narrower vector has zeros above. */
#define WITH_ASSEMBLY(text) v128 r; __asm__(text : "=w"(r) : "w"(a)); return r;
static inline v128 i32x4_trunc_sat_f32x4_s(v128 a) { WITH_ASSEMBLY("fcvtzs %0.4s, %1.4s") }
static inline v128 i32x4_trunc_sat_f32x4_u(v128 a) { WITH_ASSEMBLY("fcvtzu %0.4s, %1.4s") }
static inline v128 i32x4_trunc_sat_f64x2_s_zero(v128 a) { WITH_ASSEMBLY("fcvtzs %0.2d, %1.2d\n sqxtn %0.2s, %0.2d") }
static inline v128 i32x4_trunc_sat_f64x2_u_zero(v128 a) { WITH_ASSEMBLY("fcvtzu %0.2d, %1.2d\n uqxtn %0.2s, %0.2d") }
#else
static inline v128 i32x4_trunc_sat_f32x4_s(v128 a) { u32x4 r; for (int i = 0; i < 4; i++) r[i] = i32_trunc_sat_f32_s(((f32x4)a)[i]); return (v128)r; }
static inline v128 i32x4_trunc_sat_f32x4_u(v128 a) { u32x4 r; for (int i = 0; i < 4; i++) r[i] = i32_trunc_sat_f32_u(((f32x4)a)[i]); return (v128)r; }
static inline v128 i32x4_trunc_sat_f64x2_s_zero(v128 a) { return (v128)(u32x4){i32_trunc_sat_f64_s(((f64x2)a)[0]), i32_trunc_sat_f64_s(((f64x2)a)[1])}; }
static inline v128 i32x4_trunc_sat_f64x2_u_zero(v128 a) { return (v128)(u32x4){i32_trunc_sat_f64_u(((f64x2)a)[0]), i32_trunc_sat_f64_u(((f64x2)a)[1])}; }
#endif
