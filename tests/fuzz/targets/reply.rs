#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::result_set::fuzz_reply(bytes));
