//! Calls the body of a target with the fuzzer's input.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static BODY: LazyLock<fuzz::Body> = LazyLock::new(|| fuzz::body(env!("CARGO_BIN_NAME")).expect("a body of that name"));

fuzz_target!(|bytes: &[u8]| BODY(bytes));
