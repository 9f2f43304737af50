#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqluice::sql::fuzz_sql(bytes));
