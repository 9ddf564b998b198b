//! The targets of `tests/corpus.rs`, for libFuzzer.

#[path = "../../tests/fuzzing/mod.rs"]
mod fuzzing;

pub use fuzzing::targets::split;

#[global_allocator]
static ALLOCATOR: fuzzing::noting::Noting = fuzzing::noting::Noting;

/// Runs a target on one input, and checks what it took.
///
/// # Panics
/// Where the input shows a bug.
pub fn check(name: &str, data: &[u8]) {
    let target = fuzzing::targets::TARGETS.iter().find(|target| target.name == name);
    fuzzing::check(target.expect("a target of this name"), data);
}
