#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::session::fuzz_session(bytes));
