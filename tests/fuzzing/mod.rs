//! What is fuzzed, and how an input is judged: for `tests/corpus.rs`, and for libFuzzer in `fuzz/`.

pub mod noting;
pub mod targets;

use targets::Target;

/// Runs `target` on an input. That it panics, or asks for more memory at once than the input can stand for, is a bug.
pub fn check(target: &Target, data: &[u8]) {
    noting::forget();
    (target.run)(data);
    let (largest, most) = (noting::largest_bytes(), (target.most_bytes)(data.len()));
    assert!(largest <= most, "{}: {largest} bytes at once for an input of {}", target.name, data.len());
}
