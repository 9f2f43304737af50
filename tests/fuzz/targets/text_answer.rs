#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::text_answer::fuzz_text_answer(bytes));
