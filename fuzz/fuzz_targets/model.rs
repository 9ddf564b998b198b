#![no_main]

libfuzzer_sys::fuzz_target!(
    // The embedded engine's panics are caught (src/model/rehearsal.rs); libFuzzer's own hook would end the process before they are.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| phasewatch_fuzz::check("model", data)
);
