/* Types of operands and bodies of the core operations. The context's first words are the engine's
   (engine/src/context.rs mirrors this layout); what follows them belongs to the front end. */
#include <stdint.h>

/* A vector, and one in memory, where it lies at any address. Moves of floats have the shortest encodings. */
typedef float v128 __attribute__((vector_size(16)));
typedef float v128_unaligned __attribute__((vector_size(16), aligned(1)));

struct context {
    uint64_t entry_sp;      /*  0: stack pointer of the nearest entry shim */
    uint8_t *stack_limit;   /*  8: frames lie below this address */
    uint64_t interrupt;     /* 16: not zero: stop at the next check */
    void **helpers;         /* 24: helper functions by number */
    uint64_t exit_frame;    /* 32: frame register of the compiled function that called a helper */
    uint64_t trap;          /* 40: written by the trap handler */
    void *host;             /* 48: the embedding's own */
    uint64_t reserved;      /* 56 */
};

static inline uint32_t core_move_i32(uint32_t a) { return a; }
static inline uint64_t core_move_i64(uint64_t a) { return a; }
static inline float core_move_f32(float a) { return a; }
static inline double core_move_f64(double a) { return a; }
static inline v128 core_move_v128(v128 a) { return a; }

static inline uint32_t core_select_i32(uint32_t a, uint32_t b, uint32_t c) { return c ? a : b; }
static inline uint64_t core_select_i64(uint64_t a, uint64_t b, uint32_t c) { return c ? a : b; }
static inline float core_select_f32(float a, float b, uint32_t c) { return c ? a : b; }
static inline double core_select_f64(double a, double b, uint32_t c) { return c ? a : b; }
static inline v128 core_select_v128(v128 a, v128 b, uint32_t c) { return c ? a : b; }

static inline uint32_t core_br_if(uint32_t c) { return c; }
