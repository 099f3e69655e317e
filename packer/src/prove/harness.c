/* Runs stencils and tells what they did: the packer's child process, freestanding and without a C library, so that it
   also runs under a user-mode emulator. Addresses and the layout of `state` come from harness.rs as macros.

   Request:  words: number of runs, bytes of the first code, bytes of the second; both codes; one state a run.
   Reply:    one state a run of the first code, then of the second.
   Each run copies its state to STATE_AT, fills the memory windows that the state names, and enters the code at CODE_AT
   through `run`, which is generated for the target's registers. Faults end a run like any other exit. */

typedef unsigned long u64;
typedef unsigned char u8;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, MMAP = 9, SIGACTION = 13, MADVISE = 28, SETITIMER = 38, EXIT = 60, SIGALTSTACK = 131 };
enum { RESTORER = 0x04000000, VIRTUAL = 1 };

static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* ucontext: flags, link, stack (3 words), then r8 to r15, rdi, rsi, … */
static void arguments(const u64 *ucontext, u64 out[2]) {
    out[0] = ucontext[5 + 8];
    out[1] = ucontext[5 + 9];
}

static void synchronise(void) {}

/* The stack pointer at the start is the argument of `begin`'s caller, aligned as a function expects it. */
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n and $-16, %rsp\n call begin\n");
#else
#error "the harness has no system calls for this architecture"
#endif

/* Generated: enters CODE_AT with the registers of STATE_AT and returns after an exit. */
void run(void);
/* Where exits lead to. */
void landed(void);
/* Returns from `run` whatever the registers hold. */
_Noreturn void abandon(void);

static u64 *const state = (u64 *)STATE_AT;
static u8 codes[2][CODE_BYTES];
static u64 inputs[MOST_RUNS][STATE_WORDS];
static u64 outputs[2][MOST_RUNS][STATE_WORDS];
static u8 signal_stack[65536] __attribute__((aligned(16)));

void *memcpy(void *to, const void *from, u64 count) {
    u8 *t = to;
    const u8 *f = from;
    for (u64 i = 0; i < count; i++) t[i] = f[i];
    return to;
}

void *memset(void *to, int byte, u64 count) {
    u8 *t = to;
    for (u64 i = 0; i < count; i++) t[i] = (u8)byte;
    return to;
}

static _Noreturn void leave(int code) {
    for (;;) call(EXIT, code, 0, 0, 0, 0, 0);
}

/* 0 at the end of the input before the first byte. */
static int take(void *to, u64 count) {
    for (u64 done = 0; done < count;) {
        long got = call(READ, 0, (u64)to + done, count - done, 0, 0, 0);
        if (got == 0 && done == 0) return 0;
        if (got <= 0) leave(2);
        done += got;
    }
    return 1;
}

static void give(const void *from, u64 count) {
    for (u64 done = 0; done < count;) {
        long put = call(WRITE, 1, (u64)from + done, count - done, 0, 0, 0);
        if (put <= 0) leave(2);
        done += put;
    }
}

/* Private, anonymous, at this very address, no memory reserved. */
static void map(u64 at, u64 bytes, int protection) {
    enum { PRIVATE_ANONYMOUS_FIXED_NORESERVE = 0x2 | 0x20 | 0x10 | 0x4000 };
    if (call(MMAP, at, bytes, protection, PRIVATE_ANONYMOUS_FIXED_NORESERVE, -1, 0) != (long)at) leave(3);
}

static void forget(u64 at, u64 bytes) {
    call(MADVISE, at, bytes, 4, 0, 0, 0);
}

static void fault(int signal, const u64 *info, const u64 *ucontext) {
    state[EXIT_WORD] = FAULT_EXIT + signal;
    state[FAULT_WORD] = info[2];
    arguments(ucontext, state + ARGUMENTS_WORD);
    abandon();
}

static void handle(int signal) {
    struct {
        void (*handler)(int, const u64 *, const u64 *);
        u64 flags;
        void (*restorer)(void);
        u64 mask;
    } action = { fault, 0x4 | 0x08000000 | 0x40000000 | RESTORER, abandon, 0 };
    if (call(SIGACTION, signal, (u64)&action, 0, 8, 0, 0) != 0) leave(3);
}

/* Words that look like pointers into the context's own memory, so that bodies may follow them. */
static void fill_context(void) {
    u64 *words = (u64 *)CONTEXT_AT;
    for (u64 i = 0; i < CONTEXT_BYTES / 8; i++) words[i] = CONTEXT_AT + (i * 2654435761u % (CONTEXT_BYTES / 2) & ~7ul);
}

static u64 context_digest(void) {
    const u64 *words = (const u64 *)CONTEXT_AT;
    u64 digest = 0xcbf29ce484222325;
    for (u64 i = 0; i < CONTEXT_BYTES / 8; i++) digest = (digest ^ words[i]) * 0x100000001b3;
    return digest;
}

static void execute(const u64 input[STATE_WORDS], u64 output[STATE_WORDS]) {
    memcpy(state, input, STATE_WORDS * 8);
    state[LANDING_WORD] = (u64)landed;
    fill_context();
    for (u64 i = 0; i < WINDOWS; i++) {
        const u64 *window = state + WINDOWS_WORD + 5 * i;
        if (window[0]) memcpy((void *)window[0], window + 1, 32);
    }
    run();
    for (u64 i = 0; i < WINDOWS; i++) {
        u64 *window = state + WINDOWS_WORD + 5 * i;
        if (window[0]) memcpy(window + 1, (void *)window[0], 32);
    }
    state[CONTEXT_WORD] = context_digest();
    memcpy(output, state, STATE_WORDS * 8);
}

void begin(void) {
    u64 stack[3] = { (u64)signal_stack, 0, sizeof signal_stack };
    if (call(SIGALTSTACK, (u64)stack, 0, 0, 0, 0, 0) != 0) leave(3);
    int signals[] = { 4, 5, 7, 8, 11 };
    for (int i = 0; i < 5; i++) handle(signals[i]);
    map(STATE_AT, 4096, 3);
    map(CONTEXT_AT, CONTEXT_BYTES, 3);
    map(FRAME_AT - REACH, 2 * REACH + 4096, 3);
    map(HELPERS_AT - REACH, 2 * REACH + 4096, 3);
    map(MEM_AT, 4 * REACH + 4096, 3);
    map(CODE_AT, CODE_BYTES, 7);
    u64 header[3];
    while (take(header, sizeof header)) {
        u64 runs = header[0];
        if (runs > MOST_RUNS || header[1] > CODE_BYTES || header[2] > CODE_BYTES) leave(2);
        for (int side = 0; side < 2; side++)
            if (header[1 + side] && !take(codes[side], header[1 + side])) leave(2);
        if (runs && !take(inputs, runs * STATE_WORDS * 8)) leave(2);
        /* Code that does not come back kills the process: two seconds of its own time, however busy the machine is. */
        u64 limit[4] = { 0, 0, 2, 0 };
        call(SETITIMER, VIRTUAL, (u64)limit, 0, 0, 0, 0);
        for (int side = 0; side < 2; side++) {
            memset((void *)CODE_AT, 0, CODE_BYTES);
            memcpy((void *)CODE_AT, codes[side], header[1 + side]);
            synchronise();
            for (u64 i = 0; i < runs; i++) execute(inputs[i], outputs[side][i]);
            forget(FRAME_AT - REACH, 2 * REACH + 4096);
            forget(HELPERS_AT - REACH, 2 * REACH + 4096);
            forget(MEM_AT, 4 * REACH + 4096);
        }
        for (int side = 0; side < 2; side++) give(outputs[side], runs * STATE_WORDS * 8);
    }
    leave(0);
}
