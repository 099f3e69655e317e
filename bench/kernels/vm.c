// An interpreter of a register bytecode in one big switch, running a program with nested loops and memory.
// Work: the outer loop's count in thousands.
#include "kernel.h"

enum { LOADI, MOVE, ADD, SUB, MUL, XOR, SHR, ANDI, ADDI, LOAD, STORE, JUMP, JLT, JNE, HALT };
typedef struct {
    uint8_t op, a, b, c;
    int32_t imm;
} Inst;

NOINLINE static uint32_t run(const Inst *code, uint32_t *mem, uint32_t arg, uint64_t *executed) {
    uint32_t r[16] = {0};
    uint64_t count = 0;
    r[15] = arg;
    for (const Inst *pc = code;;) {
        Inst i = *pc++;
        count++;
        switch (i.op) {
        case LOADI: r[i.a & 15] = (uint32_t)i.imm; break;
        case MOVE: r[i.a & 15] = r[i.b & 15]; break;
        case ADD: r[i.a & 15] = r[i.b & 15] + r[i.c & 15]; break;
        case SUB: r[i.a & 15] = r[i.b & 15] - r[i.c & 15]; break;
        case MUL: r[i.a & 15] = r[i.b & 15] * r[i.c & 15]; break;
        case XOR: r[i.a & 15] = r[i.b & 15] ^ r[i.c & 15]; break;
        case SHR: r[i.a & 15] = r[i.b & 15] >> (i.imm & 31); break;
        case ANDI: r[i.a & 15] = r[i.b & 15] & (uint32_t)i.imm; break;
        case ADDI: r[i.a & 15] = r[i.b & 15] + (uint32_t)i.imm; break;
        case LOAD: r[i.a & 15] = mem[r[i.b & 15] & 1023]; break;
        case STORE: mem[r[i.b & 15] & 1023] = r[i.a & 15]; break;
        case JUMP: pc += i.imm; break;
        case JLT: if (r[i.a & 15] < r[i.b & 15]) pc += i.imm; break;
        case JNE: if (r[i.a & 15] != r[i.b & 15]) pc += i.imm; break;
        case HALT: *executed = count; return r[0];
        default: return 0;
        }
    }
}

int main(int argc, char **argv) {
    static uint32_t mem[1024];
    static const Inst program[] = {
        {LOADI, 0, 0, 0, 1},     // r0 = checksum
        {LOADI, 1, 0, 0, 0},     // r1 = outer counter
        {LOADI, 2, 0, 0, 16},    // r2 = inner limit
        {LOADI, 3, 0, 0, 0},     // outer: r3 = inner counter
        {MUL, 4, 0, 1, 0},       // inner: r4 = r0 * r1
        {ADD, 4, 4, 3, 0},
        {LOAD, 5, 4, 0, 0},
        {XOR, 0, 0, 5, 0},
        {SHR, 6, 0, 0, 7},
        {ADD, 0, 0, 6, 0},
        {ADDI, 0, 0, 0, 0x3779b9},
        {STORE, 0, 4, 0, 0},
        {ANDI, 7, 0, 0, 1},
        {JNE, 7, 8, 0, 1},       // r8 is always 0
        {SUB, 0, 0, 3, 0},
        {ADDI, 3, 3, 0, 1},
        {JLT, 3, 2, 0, -13},
        {ADDI, 1, 1, 0, 1},
        {JLT, 1, 15, 0, -16},
        {MOVE, 0, 0, 0, 0},
        {JUMP, 0, 0, 0, 0},
        {HALT, 0, 0, 0, 0},
    };
    uint32_t n = work_arg(argc, argv, 150) * 1000;
    uint64_t executed = 0;
    uint32_t result = run(program, mem, n, &executed);
    printf("vm %u: %08x after %llu instructions\n", n, result, (unsigned long long)executed);
}
