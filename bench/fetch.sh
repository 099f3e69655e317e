#!/usr/bin/env bash
# Fetches real modules for `copatch-bench --module` through npm into a folder that is never committed, and prints them.
# usage: bench/fetch.sh [FOLDER]
set -euo pipefail
folder=${1:-target/bench-modules}
mkdir -p "$folder"
cd "$folder"
for package in esbuild-wasm@0.28.2 canvaskit-wasm@0.42.0 sql.js@1.16.0; do
    npm pack --silent "$package" | while read -r archive; do
        tar -xzf "$archive" --wildcards --strip-components=1 '*esbuild.wasm' '*/full/canvaskit.wasm' '*/sql-wasm.wasm' 2>/dev/null || true
        rm "$archive"
    done
done
find "$PWD" -name '*.wasm'
