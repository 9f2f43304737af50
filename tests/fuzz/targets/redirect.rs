#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::redirect::fuzz_redirect(bytes));
