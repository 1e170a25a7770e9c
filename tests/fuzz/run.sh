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
cargo build --locked --release --target "$triple"
export RUST_BACKTRACE=0 seconds binaries=target/$triple/release

# fuzz TARGET: looks for bytes that crash it, or take more than a second or 512 MiB
fuzz() {
    local name=$1 binary=fuzz patience=1 log=target/$1.log end=$((SECONDS + seconds)) status slow
    # sockets and threads take their time on a busy machine
    [ "$name" != connection ] || { binary=whole patience=10; }
    local corpora=("target/corpus/$name" "seeds/$name") found=target/found/$name
    mkdir -p "target/corpus/$name" "$found"
    [ ! -d "regressions/$name" ] || corpora+=("regressions/$name")
    : >"$log"
    while :; do
        status=0
        FUZZ_TARGET=$name "$binaries/$binary" -dict="dictionaries/$name.dict" -artifact_prefix="$found/" \
            -max_total_time="$((end - SECONDS))" -timeout="$patience" -rss_limit_mb=512 -print_final_stats=1 \
            "${corpora[@]}" >>"$log" 2>&1 || status=$?
        slow=$(find "$found" -name 'timeout-*' | head -n 1)
        # 70 is a timeout: what is fast when it is tried again was held up by others
        [ "$status" -eq 70 ] && [ -n "$slow" ] || break
        FUZZ_TARGET=$name "$binaries/$binary" -timeout="$patience" "$slow" >>"$log" 2>&1 || break
        rm "$slow"
        [ "$SECONDS" -lt "$end" ] || { status=0 && break; }
    done
    [ "$status" -eq 0 ] || tail -n 40 "$log"
    awk -v name="$name" -v verdict="$([ "$status" -eq 0 ] && echo ok || echo FAILED)" -v seconds="$seconds" '
        $1 == "stat::number_of_executed_units:" { runs += $2 }
        $1 == "stat::peak_rss_mb:" && $2 > memory { memory = $2 }
        END { printf "%-6s %-14s %12d executions %8d/s %4d MiB\n", verdict, name, runs, runs / seconds, memory }' "$log"
}
export -f fuzz

targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    targets=(seeds/*)
    targets=("${targets[@]#seeds/}")
fi
report=target/report
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'fuzz {}' | tee "$report"
passed=$(grep -c '^ok ' "$report" || true)
failed=$((${#targets[@]} - passed))
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
