//! How far a test is, on stderr: a line that is drawn anew on a terminal, and lines now and then where there is none.

use super::say;
use crate::verify::progress::{Now, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// Where people look.
#[derive(Debug, Clone)]
pub(crate) struct Screen(Option<MultiProgress>);

impl Screen {
    /// `plain`: no line is drawn anew, whatever stderr is.
    pub(crate) fn new(plain: bool) -> Self {
        let drawn = !plain && io::stderr().is_terminal();
        Self(drawn.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())))
    }

    /// A line of it: of one test.
    pub(crate) fn row(&self, name: &str) -> Row {
        // The template is a constant that parses; were it not, the default would show as much.
        let style = ProgressStyle::with_template("{spinner} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let screen = self.0.as_ref();
        let bar = screen.map(|s| s.add(ProgressBar::new_spinner().with_style(style)));
        Row {
            screen: self.clone(),
            name: Mutex::new(name.to_owned()),
            bar,
            told: Mutex::new(Instant::now()),
        }
    }

    fn say(&self, text: &str) {
        match &self.0 {
            Some(screen) => screen.suspend(|| say(text)),
            None => say(text),
        }
    }
}

/// What is told of one test. On a terminal its line is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Row {
    screen: Screen,
    /// What stands before everything; may be empty.
    name: Mutex<String>,
    bar: Option<ProgressBar>,
    /// When the last line was written.
    told: Mutex<Instant>,
}

impl Row {
    /// From now on it is about another.
    pub(crate) fn rename(&self, name: &str) {
        let mut now = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut now);
    }

    fn named(&self, text: &str) -> String {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        match name.as_str() {
            "" => text.to_owned(),
            name => format!("{name}: {text}"),
        }
    }
}

impl Progress for Row {
    fn say(&self, text: &str) {
        self.screen.say(&self.named(text));
    }

    fn now(&self, now: &Now) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.named(&now.short()));
            bar.tick();
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            say(&self.named(&now.line()));
        }
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
