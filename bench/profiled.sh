#!/usr/bin/env bash
# Builds the command `copatch` for this machine with a profile of what it does when it compiles, so that the compiler knows what is
# usual. A process that compiles esbuild again and again takes 0.96 of the time if it, SQLite and canvaskit were profiled; with the
# other two alone, no less than without a profile.
# Prints the program's path. Takes some minutes, and Debian's llvm-19 or another llvm-profdata in LLVM_PROFDATA.
# usage: bench/profiled.sh [MODULE.wasm…]    what is compiled for the profile; the benchmark's kernels if nothing is named
set -euo pipefail
modules=()
for module in "$@"; do
    modules+=("$(realpath "$module")")
done
cd "$(dirname "$0")/.."
[ ${#modules[@]} -gt 0 ] || modules=(bench/kernels/*.wasm)
profdata=${LLVM_PROFDATA:-llvm-profdata-19}
command -v "$profdata" >/dev/null || {
    echo "$0: no $profdata here: install llvm-19, or name another one in LLVM_PROFDATA" >&2
    exit 1
}
triple=$(rustc -vV | sed -n 's/^host: //p')
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/profiled
folder=$target/profile
rm -rf "$folder"
# With a target named, build scripts and macros are built without these flags.
build() {
    RUSTFLAGS="$1 ${RUSTFLAGS:-}" CARGO_TARGET_DIR=$2 cargo build -q --release -p copatch-cli --target "$triple"
}
build "-Cprofile-generate=$folder" "$target/measured"
for module in "${modules[@]}"; do
    # Most of a program's time should be compilation, also where modules are small.
    for _ in 1 2 3; do
        "$target/measured/$triple/release/copatch" compile "$module" >/dev/null
    done
done
"$profdata" merge -o "$folder/all.profdata" "$folder"
build "-Cprofile-use=$folder/all.profdata" "$target/built"
echo "$target/built/$triple/release/copatch"
