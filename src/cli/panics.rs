//! What is told of a panic, which is a bug of ours: where it was, and no message that was made at run time: that may quote what a
//! client sent.

use super::say;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

/// From here on panics of this process are told that way. `RUST_BACKTRACE=1` adds the functions on the way there.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        let mut text = told(info);
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&format!("\n{backtrace}"));
        }
        say(&text);
    }));
}

fn told(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = info
        .location()
        .map_or_else(String::new, |location| format!(" at {location}"));
    // What is in the binary holds no data.
    let message = info
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("the message may hold data, and is not shown");
    format!("brownout has a bug: thread '{thread}' panicked{place}: {message}")
}
