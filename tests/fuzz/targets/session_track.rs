#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::protocol::session_track::fuzz_session_track(bytes));
