#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::kill::fuzz_kill(bytes));
