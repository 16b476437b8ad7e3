#![no_main]

use cap::Cap;
use std::alloc::System;

/// No input makes it hold more: an allocation beyond this aborts.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, 16 << 20);

libfuzzer_sys::fuzz_target!(|input: &[u8]| brownout::fuzzing::sql::sql(input));
