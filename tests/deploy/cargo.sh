#!/bin/sh
# Stands in for cargo in the build stage: looks whether what it is asked for can be built, and gives out a binary that is there already.
set -eu

case "$1" in
    install)
        [ "$2 $3 $4" = "--locked --root /usr/local" ]
        ;;
    auditable)
        [ "$2 $3 $4 $5" = "build --locked --profile dev" ]
        # what the paths are cut off by has to be where crates and sources are
        case " $RUSTFLAGS $CFLAGS " in
            *"=$CARGO_HOME/registry/src=crates "*"=$PWD=. "*"=$CARGO_HOME/registry/src=crates "*"=$PWD=. "*) ;;
            *) exit 1 ;;
        esac
        [ -s Cargo.toml ] && [ -s Cargo.lock ] && [ -s src/main.rs ] && [ -e src/lib.rs ]
        mkdir -p target/debug
        cp /usr/local/prebuilt target/debug/obo-proxy
        ;;
    *)
        echo "cargo $*: not expected" >&2
        exit 1
        ;;
esac
