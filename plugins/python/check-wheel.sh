#!/usr/bin/env bash
# Builds the wheel, installs it in a new environment of each Python found, and runs a compiled function there.
# usage: plugins/python/check-wheel.sh [PYTHON ...]      (default: python3.11, 3.12 and 3.13, from PATH or pyenv)
set -euo pipefail
cd "$(dirname "$0")"

pythons=("$@")
if [ ${#pythons[@]} -eq 0 ]; then
    for minor in 11 12 13; do
        for python in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
            # pyenv's stand-ins on PATH may exist and not run.
            if python=$(command -v "$python") && "$python" -c '' 2>/dev/null; then
                pythons+=("$python")
                break
            fi
        done
    done
fi
[ ${#pythons[@]} -gt 0 ] || {
    echo "check-wheel: no Python 3.11, 3.12 or 3.13 was found" >&2
    exit 1
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${pythons[0]}" -m venv "$folder/tools"
"$folder/tools/bin/pip" install -q --disable-pip-version-check 'maturin>=1.7,<2' mypy
"$folder/tools/bin/maturin" build -q --release --out "$folder/wheel"
wheel=("$folder"/wheel/*.whl)
echo "$(basename "${wheel[0]}"): $(stat -c %s "${wheel[0]}") bytes"
case $wheel in
    *-cp311-abi3-*) ;;
    *) echo "check-wheel: not one wheel for all versions" >&2; exit 1 ;;
esac

cat >"$folder/typed.py" <<'TYPED'
import copatch
from typing import assert_type

@copatch.jit
def power(base: float, *, exponent: int) -> float:
    return base**exponent

assert_type(power(2.0, exponent=3), float)
assert_type(copatch.stats()[0]["calls"], int)
power("2", exponent=3)  # type: ignore[arg-type]
power(2.0, 3)  # type: ignore[call-arg, misc]
TYPED

number=0
for python in "${pythons[@]}"; do
    number=$((number + 1))
    "$python" -m venv "$folder/$number"
    own=$folder/$number/bin/python
    "$own" -m pip install -q --disable-pip-version-check --no-index "${wheel[0]}"
    (
        cd "$folder"
        "$own" - <<'RUN'
import copatch, re, subprocess, statistics, sys

exec(compile("""
@copatch.jit
def count(n):
    total = 0
    for i in range(n):
        total += i & 3
    return total
""", "count", "exec"))
assert count(1000) == 1500
about, = copatch.stats()
assert about["calls"] == 1 and about["exits"] == 0, about

def imported():
    run = subprocess.run([sys.executable, "-X", "importtime", "-c", "import copatch"], capture_output=True, text=True, check=True)
    return int(re.search(r"(\d+) \| copatch$", run.stderr, re.M)[1])

took = statistics.median(imported() for _ in range(9))
print(f"{sys.version.split()[0]}: runs, imported in {took / 1000:.1f} ms, compiled in {about['compile_seconds'] * 1e6:.0f} us")
RUN
        "$folder/tools/bin/mypy" --strict --python-executable "$own" typed.py >types 2>&1 || { cat types; exit 1; }
    )
done
echo "check-wheel: types are seen"
