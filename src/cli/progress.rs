//! How far a test is: a line that is drawn anew on a terminal, and lines now and then where there is none. On stderr.

use super::say;
use crate::verify::progress::{Now, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// Where people look.
#[derive(Debug)]
pub(super) struct Shown {
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// When the last line was written.
    told: Mutex<Instant>,
}

impl Shown {
    pub(super) fn new() -> Self {
        // The template is a constant that parses; were it not, the default would show as much.
        let style = ProgressStyle::with_template("{spinner} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self {
            bar: io::stderr()
                .is_terminal()
                .then(|| ProgressBar::new_spinner().with_style(style)),
            told: Mutex::new(Instant::now()),
        }
    }

    /// Takes the line away: results follow.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    fn now(&self, now: &Now) {
        if let Some(bar) = &self.bar {
            bar.set_message(now.line());
            bar.tick();
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            say(&now.line());
        }
    }
}
