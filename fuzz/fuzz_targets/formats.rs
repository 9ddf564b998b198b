#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phasewatch_fuzz::check("formats", data));
