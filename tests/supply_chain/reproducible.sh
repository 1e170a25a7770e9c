#!/usr/bin/env bash
# Whether a build says nothing of where and when it was made: builds the program twice, in two directories of different length and with
# two target directories, and compares the files byte for byte. `reproducible.sh [PROFILE]`, release by default, which takes twice as long
# as a build from nothing. The last line is `reproducible: N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

profile=${1:-release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
passed=0
failed=0

# build DIRECTORY: what a release is built with (the Dockerfile has the same), and where it ended up
build() {
    mkdir -p "$1"
    cp -r "$work"/sources/. "$1/"
    (
        cd "$1"
        # one remapping for each root of a path: the crates' sources, and this directory with what build scripts write below it
        export SOURCE_DATE_EPOCH=0 CARGO_TARGET_DIR="$1/target" CARGO_INCREMENTAL=0 \
            RUSTFLAGS="--remap-path-prefix=$cargo_home/registry/src=crates --remap-path-prefix=$1=." \
            CFLAGS="-ffile-prefix-map=$cargo_home/registry/src=crates -ffile-prefix-map=$1=."
        # no test and no benchmark is there, which Cargo.toml names
        sed -i '/^\[\[\(test\|bench\)\]\]$/,/^$/d' Cargo.toml
        cargo build --locked --profile "$profile" --bin obo-proxy
    )
    local built=("$1"/target/*/obo-proxy)
    cp "${built[0]}" "$2"
    rm -rf "$1"
}

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
    fi
}

# tells_nothing FILE: whether no path of this machine is in it
tells_nothing() {
    local path
    for path in "$work" "$cargo_home" "$HOME/" "$(rustc --print sysroot)"; do
        if LC_ALL=C grep --text --only-matching --max-count=3 "[[:print:]]*${path}[[:print:]]\{0,80\}" "$1"; then
            return 1
        fi
    done
}

# they may change while this runs
mkdir "$work/sources"
cp -r Cargo.toml Cargo.lock rust-toolchain.toml src "$work/sources/"
build "$work/one" "$work/first"
build "$work/another/of/a/longer/name" "$work/second"
check "the same sources in two directories are the same program" cmp "$work/first" "$work/second"
check "no path of this machine is in it" tells_nothing "$work/first"
sha256sum "$work/first" "$work/second"

echo "reproducible: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
