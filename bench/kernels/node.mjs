// Runs one WASI program under node, which sees the current folder as its root: node node.mjs PROGRAM.wasm [ARGS...]
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const [file, ...args] = process.argv.slice(2);
const preopens = { '/': '.' };
// Leaving at once where the program ends: with returnOnExit, node 20 crashes if it is still compiling a large module then.
const wasi = new WASI({ version: 'preview1', args: [file, ...args], env: {}, preopens, returnOnExit: false });
const { instance } = await WebAssembly.instantiate(readFileSync(file), wasi.getImportObject());
process.exitCode = wasi.start(instance);
