#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::attributes::fuzz_attributes(bytes));
