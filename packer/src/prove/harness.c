/* Runs stencils and tells what they did: the packer's child process, freestanding and without a C library, so that it
   also runs under a user-mode emulator. Addresses and the layout of `state` come from harness.rs as macros.

   Request:  words: number of runs, bytes of the first code, bytes of the second; both codes; one state a run.
   Reply:    one state a run of the first code, then of the second.
   Each run copies its state to STATE_AT, fills the memory windows that the state names, and enters the code at CODE_AT
   through `run`, which is generated for the target's registers. Faults end a run like any other exit. */

typedef unsigned long u64;
typedef unsigned char u8;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, MMAP = 9, MUNMAP = 11, SIGACTION = 13,  SETITIMER = 38, EXIT = 60, SIGALTSTACK = 131 };

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

/* Words of ucontext: flags, link, stack (3 words), then registers. */
enum { r8 = 5, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx };

static void synchronise(u64 bytes) { (void)bytes; }

void back(void);
__asm__("back:\n mov $15, %eax\n syscall\n");

/* The stack pointer at the start is the argument of `begin`'s caller, aligned as a function expects it. */
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n and $-16, %rsp\n call begin\n");
#else
/* The numbers that architectures have had since there is one list for all of them. */
enum { READ = 63, WRITE = 64, EXIT = 93, SETITIMER = 103, SIGALTSTACK = 132, SIGACTION = 134, MUNMAP = 215, MMAP = 222 };

/* ucontext: flags, link, stack (3 words), signals blocked (16 words), and from a multiple of 16 the registers. */
enum { REGISTERS = 22 };

#if defined(__aarch64__)
static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    register u64 x8 __asm__("x8") = number;
    register u64 x0 __asm__("x0") = a;
    register u64 x1 __asm__("x1") = b;
    register u64 x2 __asm__("x2") = c;
    register u64 x3 __asm__("x3") = d;
    register u64 x4 __asm__("x4") = e;
    register u64 x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

/* The address of the fault, then x0, x1, … */
enum { x0 = REGISTERS + 1, x1 };

/* Lines have 16 bytes at least. */
static void synchronise(u64 bytes) {
    for (u64 at = CODE_AT; at < CODE_AT + bytes; at += 16) __asm__ volatile("dc cvau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
    for (u64 at = CODE_AT; at < CODE_AT + bytes; at += 16) __asm__ volatile("ic ivau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish\n isb" ::: "memory");
}

__asm__(".globl _start\n_start:\n mov x29, #0\n bl begin\n");
#elif defined(__riscv)
static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    register u64 a7 __asm__("a7") = number;
    register u64 a0 __asm__("a0") = a;
    register u64 a1 __asm__("a1") = b;
    register u64 a2 __asm__("a2") = c;
    register u64 a3 __asm__("a3") = d;
    register u64 a4 __asm__("a4") = e;
    register u64 a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}

/* The program counter, then x1, x2, …; a0 is x10. */
enum { a0 = REGISTERS + 10, a1 };

static void synchronise(u64 bytes) {
    (void)bytes;
    __asm__ volatile("fence.i" ::: "memory");
}

__asm__(".globl _start\n_start:\n li s0, 0\n call begin\n");
#else
#error "the harness has no system calls for this architecture"
#endif
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

/* The same for whole words: under an emulator it is copying that takes the time. */
static void copy_words(u64 *to, const u64 *from, u64 count) {
    for (u64 i = 0; i < count; i++) to[i] = from[i];
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

/* Memory around the pointers is there as soon as it is touched, page by page, and forgotten behind each code: it is
   gigabytes, of which an emulator would keep a record for every page. */
enum { PAGE = 4096, MOST_PAGES = 4096 };
static u64 touched[MOST_PAGES];
static u64 touches;

/* Whether that was memory that code may touch, and is there now. */
static int touch(u64 at) {
    int within = at - (FRAME_AT - REACH) < 2 * REACH + PAGE || at - (HELPERS_AT - REACH) < 2 * REACH + PAGE ||
                 at - MEM_AT < 4 * REACH + PAGE;
    if (!within || touches == MOST_PAGES) return 0;
    u64 page = at & -(u64)PAGE;
    for (u64 i = 0; i < touches; i++)
        if (touched[i] == page) return 1;
    map(page, PAGE, 3);
    touched[touches++] = page;
    return 1;
}

static void forget(void) {
    while (touches > 0) call(MUNMAP, touched[--touches], PAGE, 0, 0, 0, 0);
}

static void fault(int signal, const u64 *info, const u64 *ucontext) {
    enum { SEGV = 11 };
    /* What is there and faults all the same is no matter of pages. */
    u64 before = touches;
    if (signal == SEGV && touch(info[2]) && touches > before) return;
    state[EXIT_WORD] = FAULT_EXIT + signal;
    state[FAULT_WORD] = info[2];
    static const u8 words[] = { C_ARGUMENTS };
    for (u64 i = 0; i < sizeof words; i++) state[ARGUMENTS_WORD + i] = ucontext[words[i]];
    abandon();
}

static void handle(int signal) {
    /* With information, on its own stack, not blocked meanwhile. */
    enum { SIGINFO = 0x4, ONSTACK = 0x08000000, NODEFER = 0x40000000, RESTORER = 0x04000000 };
    struct {
        void (*handler)(int, const u64 *, const u64 *);
        u64 flags;
#if !defined(__riscv)
        void (*restorer)(void);
#endif
        u64 mask;
    } action = { .handler = fault, .flags = SIGINFO | ONSTACK | NODEFER };
#if defined(__x86_64__)
    /* Elsewhere the system knows the way back itself. */
    action.flags |= RESTORER;
    action.restorer = back;
#endif
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
    copy_words(state, input, STATE_WORDS);
    state[LANDING_WORD] = (u64)landed;
    fill_context();
    for (u64 i = 0; i < WINDOWS; i++) {
        const u64 *window = state + WINDOWS_WORD + 5 * i;
        if (!window[0]) continue;
        touch(window[0]);
        touch(window[0] + 31);
        memcpy((void *)window[0], window + 1, 32);
    }
    run();
    for (u64 i = 0; i < WINDOWS; i++) {
        u64 *window = state + WINDOWS_WORD + 5 * i;
        if (window[0]) memcpy(window + 1, (void *)window[0], 32);
    }
    state[CONTEXT_WORD] = context_digest();
    copy_words(output, state, STATE_WORDS);
}

void begin(void) {
    u64 stack[3] = { (u64)signal_stack, 0, sizeof signal_stack };
    if (call(SIGALTSTACK, (u64)stack, 0, 0, 0, 0, 0) != 0) leave(3);
    int signals[] = { 4, 5, 7, 8, 11 };
    for (int i = 0; i < 5; i++) handle(signals[i]);
    map(STATE_AT, 4096, 3);
    map(CONTEXT_AT, CONTEXT_BYTES, 3);
    map(CODE_AT, CODE_BYTES, 7);
    u64 header[3], written = 0;
    while (take(header, sizeof header)) {
        u64 runs = header[0];
        if (runs > MOST_RUNS || header[1] > CODE_BYTES || header[2] > CODE_BYTES) leave(2);
        for (int side = 0; side < 2; side++)
            if (header[1 + side] && !take(codes[side], header[1 + side])) leave(2);
        if (runs && !take(inputs, runs * STATE_WORDS * 8)) leave(2);
        enum { OWN_TIME = 1 };
        /* Code that does not come back kills the process: two seconds of its own time, however busy the machine is. */
        u64 limit[4] = { 0, 0, 2, 0 };
        call(SETITIMER, OWN_TIME, (u64)limit, 0, 0, 0, 0);
        for (int side = 0; side < 2; side++) {
            /* Nothing is left of longer code. */
            u64 bytes = written > header[1 + side] ? written : header[1 + side];
            memset((void *)CODE_AT, 0, bytes);
            memcpy((void *)CODE_AT, codes[side], header[1 + side]);
            written = header[1 + side];
            synchronise(bytes);
            for (u64 i = 0; i < runs; i++) execute(inputs[i], outputs[side][i]);
            forget();
        }
        for (int side = 0; side < 2; side++) give(outputs[side], runs * STATE_WORDS * 8);
    }
    leave(0);
}
