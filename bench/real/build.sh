#!/usr/bin/env bash
# Fetches real programs and makes WASI programs of those that come as C, with clang and wasi-libc, and native ones to judge
# them by. Nothing of it is committed; what is there already stays.
# usage: bench/real/build.sh [FOLDER]
#
#   esbuild.wasm                the bundler, a Go program                 npm @esbuild/wasi-preview1
#   sqlite.wasm, sqlite         SQLite under sqlite.c                     npm better-sqlite3, which has its sources
#   qjs.wasm, qjs, quickjs/     QuickJS, a JavaScript engine, its tests   crate rquickjs-sys, which has its sources
#   sources/                    TypeScript and JavaScript to bundle       npm rxjs, lodash
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-target/real}
mkdir -p "$folder"
cd "$folder"
clang=${CLANG:-clang-19}

# package NAME@VERSION FOLDER FILE...: unpacks those files of an npm package.
package() {
    local name=$1 into=$2 archive
    shift 2
    mkdir -p "$into"
    archive=$(npm pack --silent "$name")
    tar -xzf "$archive" -C "$into" --strip-components=1 "${@/#/package/}"
    rm "$archive"
}

# both NAME CLANG-ARGUMENTS...: NAME.wasm and the native NAME. One rounding an operation, as WebAssembly has it; the stack at the
# bottom of memory, so that one that overflows traps.
both() {
    local name=$1 builtins=(/usr/lib/llvm-14/lib/clang/14*/lib/wasi/libclang_rt.builtins-wasm32.a)
    shift
    local flags=(-O2 -ffp-contract=off -w -D_GNU_SOURCE -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_SIGNAL)
    flags+=(-D_WASI_EMULATED_GETPID -D_WASI_EMULATED_MMAN "$@")
    "$clang" "${flags[@]}" -lm -lpthread -o "$name"
    "$clang" --target=wasm32-wasi "${flags[@]}" -nodefaultlibs -isystem /usr/include/wasm32-wasi -L/usr/lib/wasm32-wasi \
        -Wl,--strip-all,--stack-first,-z,stack-size=8388608 -lwasi-emulated-process-clocks -lwasi-emulated-signal \
        -lwasi-emulated-getpid -lwasi-emulated-mman -lm -lc "${builtins[0]}" -o "$name.wasm"
}

if [ ! -f esbuild.wasm ]; then
    package @esbuild/wasi-preview1@0.27.2 . esbuild.wasm
fi
if [ ! -d sources/lodash ]; then
    package rxjs@7.8.2 sources/rxjs src
    package lodash@4.18.1 sources/lodash lodash.js
fi
if [ ! -f sqlite.wasm ]; then
    package better-sqlite3@12.11.1 better-sqlite3 deps/sqlite3
    both sqlite -Ibetter-sqlite3/deps/sqlite3 -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_ENABLE_FTS5 \
        -DSQLITE_ENABLE_RTREE "$here/sqlite.c" better-sqlite3/deps/sqlite3/sqlite3.c
fi
if [ ! -f qjs.wasm ]; then
    mkdir -p crate
    # A package of nothing, so that cargo fetches what it depends on.
    printf '%s\n' '[workspace]' '[package]' 'name = "fetch"' 'version = "0.0.0"' '[lib]' 'path = "/dev/null"' '[dependencies]' \
        'rquickjs-sys = "=0.14.0"' >crate/Cargo.toml
    (cd crate && cargo vendor -q >/dev/null)
    rm -rf quickjs
    mv crate/vendor/rquickjs-sys/quickjs quickjs
    rm -r crate
    both qjs -DQUICKJS_NG_BUILD quickjs/{quickjs,libregexp,libunicode,dtoa,quickjs-libc,qjs,gen/repl,gen/standalone}.c
fi
