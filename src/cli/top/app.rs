//! What `top` knows and what a key does: no terminal, no network.

use crate::admin::client::ClientError;
use crate::cli::INTERRUPTED;
use crate::fault::store::Listed;
use crate::measure::stats::{OperationStats, ProxyStats, Stats};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::Deserialize;
use std::time::Duration;

/// For how long a profile may be switched on by a key.
const TTLS: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
];
/// Characters of a filter.
const LONGEST: usize = 64;
/// Lines of a page.
const PAGE: usize = 10;

/// What `/v1/faults` says.
#[derive(Debug, Deserialize)]
pub(super) struct Enabled {
    pub(super) halted: bool,
    pub(super) faults: Vec<Listed>,
}

/// What `/v1/profiles` says.
#[derive(Debug, Deserialize)]
pub(super) struct Profiles {
    pub(super) profiles: Vec<Profile>,
}

/// A profile at hand.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) description: String,
}

/// What one look saw.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) stats: Stats,
    pub(super) halted: bool,
    pub(super) faults: Vec<Listed>,
    /// `None`: as before.
    pub(super) profiles: Option<Vec<Profile>>,
}

/// What is asked of the running `brownout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Enable(String, Duration),
    Disable(String),
    Remove(String),
    Halt,
    Resume,
}

/// What follows from a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Ask(Ask),
    Quit(u8),
}

/// The order of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Rate,
    P99,
    Errors,
    Name,
}

impl Order {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::P99 => "p99",
            Self::Errors => "errors",
            Self::Name => "name",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Rate => Self::P99,
            Self::P99 => Self::Errors,
            Self::Errors => Self::Name,
            Self::Name => Self::Rate,
        }
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Figures,
    Profiles,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct App {
    pub(super) address: String,
    pub(super) stats: Stats,
    pub(super) halted: bool,
    pub(super) faults: Vec<Listed>,
    pub(super) profiles: Vec<Profile>,
    pub(super) view: View,
    pub(super) order: Order,
    /// Why there is nothing new.
    pub(super) lost: Option<String>,
    pub(super) said: String,
    /// Of the view of figures, and of that of profiles.
    filters: [String; 2],
    /// Whether the filter is being typed.
    pub(super) typing: bool,
    pub(super) scroll: usize,
    pub(super) fault: usize,
    pub(super) profile: usize,
    ttl: usize,
}

impl App {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            stats: Stats::default(),
            halted: false,
            faults: Vec::new(),
            profiles: Vec::new(),
            view: View::Figures,
            order: Order::Rate,
            lost: None,
            said: String::new(),
            filters: Default::default(),
            typing: false,
            scroll: 0,
            fault: 0,
            profile: 0,
            ttl: 2,
        }
    }

    /// Takes what was seen.
    pub(super) fn looked(&mut self, seen: Snapshot) {
        self.lost = None;
        self.stats = seen.stats;
        self.halted = seen.halted;
        self.faults = seen.faults;
        if let Some(profiles) = seen.profiles {
            self.profiles = profiles;
        }
        self.bound();
    }

    /// Nothing could be seen; what is shown is old.
    pub(super) fn lost(&mut self, error: &ClientError) {
        self.lost = Some(error.to_string());
    }

    pub(super) fn say(&mut self, text: String) {
        self.said = text;
    }

    pub(super) fn filter(&self) -> &str {
        &self.filters[self.view as usize]
    }

    pub(super) fn ttl(&self) -> Duration {
        TTLS[self.ttl]
    }

    /// The profiles that fit the filter.
    pub(super) fn shown(&self) -> Vec<&Profile> {
        let wanted = self.filters[View::Profiles as usize].to_lowercase();
        let all = self.profiles.iter();
        all.filter(|p| p.name.to_lowercase().contains(&wanted))
            .collect()
    }

    /// The time that is left of a profile that is on.
    pub(super) fn left_ms(&self, profile: &str) -> Option<u64> {
        let of = self
            .faults
            .iter()
            .filter(|f| f.profile.as_deref() == Some(profile));
        of.map(|f| f.left_ms).max()
    }

    /// The operations of a proxy that were seen, in their order.
    pub(super) fn operations<'p>(&self, proxy: &'p ProxyStats) -> Vec<&'p OperationStats> {
        let wanted = self.filters[View::Figures as usize].to_lowercase();
        let p99 = |o: &OperationStats| o.exchanges.client.map_or(0, |l| l.p99_us);
        let all = proxy.operations.iter();
        let mut all: Vec<_> = all
            .filter(|o| o.exchanges.count + o.exchanges.outstanding > 0)
            .filter(|o| {
                o.operation.to_lowercase().contains(&wanted)
                    || proxy.name.to_lowercase().contains(&wanted)
            })
            .collect();
        // They come sorted by name, and stay so where they are equal.
        match self.order {
            Order::Rate => all.sort_by_key(|o| std::cmp::Reverse(o.exchanges.count)),
            Order::P99 => all.sort_by_key(|o| std::cmp::Reverse(p99(o))),
            Order::Errors => all.sort_by_key(|o| std::cmp::Reverse(o.exchanges.errors)),
            Order::Name => {}
        }
        all
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Then {
        if key.kind == KeyEventKind::Release {
            return Then::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Then::Quit(INTERRUPTED),
                _ => Then::Nothing,
            };
        }
        if self.typing {
            self.typed(key.code);
            return Then::Nothing;
        }
        let then = match (self.view, key.code) {
            (_, KeyCode::Char('q')) | (View::Figures, KeyCode::Esc) => Then::Quit(0),
            (_, KeyCode::Char('h')) => Then::Ask(Ask::Halt),
            (_, KeyCode::Char('r')) => Then::Ask(Ask::Resume),
            (_, KeyCode::Char('/')) => {
                self.typing = true;
                Then::Nothing
            }
            (View::Profiles, code) => self.in_profiles(code),
            (View::Figures, code) => self.in_figures(code),
        };
        self.bound();
        then
    }

    fn typed(&mut self, code: KeyCode) {
        let filter = &mut self.filters[self.view as usize];
        match code {
            KeyCode::Char(c) if filter.chars().count() < LONGEST => filter.push(c),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Esc => {
                filter.clear();
                self.typing = false;
            }
            KeyCode::Enter => self.typing = false,
            _ => {}
        }
        self.bound();
    }

    fn in_figures(&mut self, code: KeyCode) -> Then {
        match code {
            KeyCode::Char('p') => self.view = View::Profiles,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Up => self.fault = self.fault.saturating_sub(1),
            KeyCode::Down => self.fault += 1,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageDown => self.scroll += PAGE,
            KeyCode::Char('d') => {
                let Some(fault) = self.faults.get(self.fault) else {
                    self.say("no fault is on".to_owned());
                    return Then::Nothing;
                };
                return Then::Ask(Ask::Remove(fault.name.clone()));
            }
            _ => {}
        }
        Then::Nothing
    }

    fn in_profiles(&mut self, code: KeyCode) -> Then {
        match code {
            KeyCode::Char('p') | KeyCode::Esc => self.view = View::Figures,
            KeyCode::Char('t') => self.ttl = (self.ttl + 1) % TTLS.len(),
            KeyCode::Up => self.profile = self.profile.saturating_sub(1),
            KeyCode::Down => self.profile += 1,
            KeyCode::PageUp => self.profile = self.profile.saturating_sub(PAGE),
            KeyCode::PageDown => self.profile += PAGE,
            KeyCode::Enter | KeyCode::Char('d') => {
                let Some(name) = self.shown().get(self.profile).map(|p| p.name.clone()) else {
                    return Then::Nothing;
                };
                let on = self.left_ms(&name).is_some();
                return match code {
                    _ if on => Then::Ask(Ask::Disable(name)),
                    KeyCode::Enter => Then::Ask(Ask::Enable(name, self.ttl())),
                    _ => Then::Nothing,
                };
            }
            _ => {}
        }
        Then::Nothing
    }

    /// Choices stay inside what there is.
    fn bound(&mut self) {
        let lines: usize = self
            .stats
            .proxies
            .iter()
            .map(|p| 1 + self.operations(p).len())
            .sum();
        self.scroll = self.scroll.min(lines.saturating_sub(1));
        self.fault = self.fault.min(self.faults.len().saturating_sub(1));
        self.profile = self.profile.min(self.shown().len().saturating_sub(1));
    }
}
