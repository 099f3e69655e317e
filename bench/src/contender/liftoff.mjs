// The node end of the contender `liftoff`: one JSON command a line in, one JSON answer a line out.
import { readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

const BADF = 8;
let module;
let nonce = 0;

// The calls of wasi.rs, again.
function wasi(state) {
    const view = () => new DataView(state.memory.buffer);
    const program = Buffer.from('kernel\0');
    return {
        args_get(vector, buffer) {
            view().setUint32(vector, buffer, true);
            new Uint8Array(state.memory.buffer).set(program, buffer);
            return 0;
        },
        args_sizes_get(count, size) {
            view().setUint32(count, 1, true);
            view().setUint32(size, program.length, true);
            return 0;
        },
        fd_close: () => 0,
        fd_fdstat_get(fd, at) {
            if (fd > 2) return BADF;
            const stat = new Uint8Array(state.memory.buffer, at, 24).fill(0xff);
            stat.fill(0, 0, 8);
            stat[0] = 2;
            return 0;
        },
        fd_seek: () => BADF,
        fd_write(fd, vectors, count, written) {
            if (fd !== 1) return BADF;
            let total = 0;
            for (let i = 0; i < count; i++) {
                const at = view().getUint32(vectors + 8 * i, true);
                const length = view().getUint32(vectors + 8 * i + 4, true);
                state.output.push(Buffer.from(new Uint8Array(state.memory.buffer, at, length)));
                total += length;
            }
            view().setUint32(written, total, true);
            return 0;
        },
        proc_exit(code) {
            throw { exit: code };
        },
    };
}

// Processor time in nanoseconds, as clock.rs has it.
function now() {
    const { user, system } = process.cpuUsage();
    return (user + system) * 1000;
}

function run() {
    const state = { output: [] };
    const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: wasi(state) });
    state.memory = instance.exports.memory;
    const start = now();
    try {
        instance.exports._start();
    } catch (thrown) {
        if (thrown?.exit === undefined) throw thrown;
        if (thrown.exit !== 0) throw new Error(`the program exited with ${thrown.exit}`);
    }
    const nanoseconds = now() - start;
    return { nanoseconds, output: Buffer.concat(state.output).toString() };
}

// V8 keeps the code of modules whose bytes are equal, so each gets a custom section of its own.
function fresh(bytes) {
    const section = Buffer.from([0, 13, 4, ...Buffer.from('once'), 0, 0, 0, 0, 0, 0, 0, 0]);
    section.writeUInt32LE(++nonce, 7);
    section.writeUInt32LE(process.pid, 11);
    return Buffer.concat([bytes, section]);
}

function compile(file) {
    const bytes = fresh(readFileSync(file));
    // The module before, and its code, are garbage by now; nobody should pay for them inside the time.
    globalThis.gc?.();
    const start = now();
    new WebAssembly.Module(bytes);
    return { nanoseconds: now() - start };
}

createInterface({ input: process.stdin }).on('line', line => {
    let answer;
    try {
        const { command, file } = JSON.parse(line);
        if (command === 'load') module = new WebAssembly.Module(fresh(readFileSync(file)));
        answer = command === 'run' ? run() : command === 'compile' ? compile(file) : {};
    } catch (error) {
        answer = { error: String(error?.message ?? error) };
    }
    writeSync(1, JSON.stringify(answer) + '\n');
});
