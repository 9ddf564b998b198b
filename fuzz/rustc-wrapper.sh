#!/bin/sh
# Called by cargo as RUSTC_WRAPPER: adds coverage instrumentation for libFuzzer to our crate and to the parsers right below it, to no
# other, so that everything else is taken as it was built for the tests. Works on stable Rust.
case " $* " in
*" --crate-name phasewatch "* | *" --crate-name hdf5_reader "* | *" --crate-name hdf5_core "* | \
    *" --crate-name arrow_ipc "* | *" --crate-name toml "* | *" --crate-name toml_parser "*)
    exec "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
