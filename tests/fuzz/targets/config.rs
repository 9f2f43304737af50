#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::config::fuzz_config(bytes));
