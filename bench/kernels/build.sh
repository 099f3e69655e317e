#!/usr/bin/env bash
# Compiles every kernel to WebAssembly and natively, runs the native programs and those under node's WASI, compares
# the two, and writes NAME.wasm and NAME.out. Run after changing a kernel, and commit what it writes.
# usage: bench/kernels/build.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Nothing beyond what every engine has had for years: sign extension, saturating conversion, bulk memory; no SIMD.
features=(-msign-ext -mnontrapping-fptoint -mbulk-memory -mno-simd128 -mno-tail-call)
builtins=(/usr/lib/llvm-14/lib/clang/14*/lib/wasi/libclang_rt.builtins-wasm32.a)

# wasm SOURCE OUTPUT: -ffp-contract=off, since a fused multiply-add rounds once where two operations round twice.
wasm() {
    "$clang" --target=wasm32-wasi -O2 -ffp-contract=off -Wall -Wextra "${features[@]}" -nodefaultlibs \
        -isystem /usr/include/wasm32-wasi -L/usr/lib/wasm32-wasi -Wl,--strip-all \
        "$1" -lc "${builtins[0]}" -o "$2"
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in *.c; do names+=("${source%.c}"); done
    wasm ../../examples/hello.c ../../examples/hello.wasm
fi
for name in "${names[@]}"; do
    wasm "$name.c" "$work/$name.wasm"
    "$clang" -O2 -ffp-contract=off -fno-math-errno "$name.c" -o "$work/native"
    "$work/native" >"$work/native.out"
    start=$(date +%s%N)
    node --no-warnings node.mjs "$work/$name.wasm" >"$work/node.out"
    took=$((($(date +%s%N) - start) / 1000000))
    if ! cmp -s "$work/native.out" "$work/node.out"; then
        echo "$name: node and the native program differ" >&2
        diff "$work/native.out" "$work/node.out" >&2 || true
        exit 1
    fi
    mv "$work/$name.wasm" "$name.wasm"
    mv "$work/node.out" "$name.out"
    printf '%-16s %6d bytes  %5d ms under node\n' "$name" "$(stat -c %s "$name.wasm")" "$took"
done
