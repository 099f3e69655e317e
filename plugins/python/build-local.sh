#!/usr/bin/env bash
# Builds the extension beside the package's Python files, for tests: prints the folder to put on PYTHONPATH.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build -q --release -p copatch-python
target=$(realpath "${CARGO_TARGET_DIR:-target}")
mkdir -p "$target/python/copatch"
cp plugins/python/python/copatch/*.py* "$target/python/copatch/"
cp "$target/release/lib_copatch.so" "$target/python/copatch/_copatch.abi3.so"
echo "$target/python"
