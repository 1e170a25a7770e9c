#!/usr/bin/env bash
# Builds the fuzz targets and runs each of them for some seconds, as many at a time as there are cores:
# `run.sh [SECONDS [TARGET...]]`. Needs nothing but stable Rust and a C++ compiler. What it learns stays in target/corpus, and
# what breaks a property in target/found/TARGET. The last line is `fuzz: N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-60}
shift || true
# the coverage that libFuzzer wants; cargo must be told a target, or build scripts would get it too
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-C passes=sancov-module \
-C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters \
-C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares"
export CARGO_TARGET_DIR=target
:
export RUST_BACKTRACE=0 seconds binaries=target/long

# fuzz TARGET: looks for bytes that crash it, or take more than a second or 512 MiB
fuzz() {
    local name=$1 status=0 binary=fuzz patience=1 log=target/$1.log
    # sockets and threads take their time on a busy machine
    [ "$name" != connection ] || { binary=whole patience=10; }
    local corpora=("target/corpus/$name" "seeds/$name")
    mkdir -p "target/corpus/$name" "target/found/$name"
    [ ! -d "regressions/$name" ] || corpora+=("regressions/$name")
    FUZZ_TARGET=$name "$binaries/$binary" -dict="dictionaries/$name.dict" -artifact_prefix="target/found/$name/" \
        -max_total_time="$seconds" -timeout="$patience" -rss_limit_mb=512 -print_final_stats=1 \
        "${corpora[@]}" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || tail -n 40 "$log"
    awk -v name="$name" -v verdict="$([ "$status" -eq 0 ] && echo ok || echo FAILED)" '
        $1 == "stat::number_of_executed_units:" { runs = $2 }
        $1 == "stat::average_exec_per_sec:" { pace = $2 }
        $1 == "stat::peak_rss_mb:" { memory = $2 }
        END { printf "%-6s %-14s %12d executions %8d/s %4d MiB\n", verdict, name, runs, pace, memory }' "$log"
}
export -f fuzz

targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    targets=(seeds/*)
    targets=("${targets[@]#seeds/}")
fi
report=target/report-$seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'fuzz {}' | tee "$report"
passed=$(grep -c '^ok ' "$report" || true)
failed=$((${#targets[@]} - passed))
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
