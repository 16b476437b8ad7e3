//! What all pictures of a run have in common: one axis of time, one colour a phase, when faults were felt, limits, and marks.

use super::configuration::Limit;
use super::events::What;
use super::figure::plain;
use crate::insight::SECOND;
use crate::insight::breaker::{Breaker, Opening};
use crate::insight::view::Span;
use crate::verify::document::{Document, Part};
use crate::verify::written::Kind;

/// Marks of a run at most: a picture is no wider.
const MARKS: usize = 300;

/// The stage of a run's pictures.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// How long each picture is, in seconds.
    pub(super) seconds: f64,
    pub(super) phases: Vec<Phase>,
    /// By proxy.
    pub(super) felt: Vec<(String, Span)>,
    pub(super) limits: Vec<(String, Limit)>,
    pub(super) marks: Vec<Mark>,
}

/// A phase, and what it looks like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Phase {
    pub(super) name: String,
    /// Of its kind and its place among those of its kind: the same in every picture of the run.
    pub(super) class: String,
    pub(super) span: Span,
    /// Whether limits count in it that name no phase.
    counts: bool,
}

/// Something that happened, to be marked in pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) what: Marked,
    /// The fault, or whose breaker.
    pub(super) subject: String,
    /// The proxy that it is about; none: all.
    pub(super) proxy: Option<String>,
    /// How often.
    pub(super) count: u64,
}

/// What is marked, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Marked {
    Stopped,
    FaultOn,
    FaultOff,
    Opened,
    Closed,
    /// Connections that came to grief, and what is missing.
    Other(What),
}

impl Marked {
    /// Those that a legend tells apart.
    pub(super) const fn key(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Stopped => ("stopped", "\u{25a0}", "stopped early"),
            Self::FaultOn => ("on", "\u{25bc}", "fault on"),
            Self::FaultOff => ("off", "\u{25b2}", "fault off"),
            Self::Opened => ("opened", "\u{25cf}", "breaker opened"),
            Self::Closed => ("shut", "\u{25cb}", "breaker closed"),
            Self::Other(_) => ("other", "|", "connections that came to grief (see above)"),
        }
    }

    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Other(what) => what.words(),
            marked => marked.key().2,
        }
    }
}

impl Scene {
    pub(super) fn of(run: &Document) -> Self {
        let configured = run.configuration.iter().flat_map(|c| &c.proxies);
        let limits = configured.flat_map(|p| p.limits().into_iter().map(|l| (p.name.clone(), l)));
        let felt = run.insights.dependencies.iter();
        let felt = felt.filter_map(|d| Some((d.proxy.clone(), d.affected?)));
        Self {
            seconds: length(run) as f64 / SECOND as f64,
            phases: phases(&run.phases),
            felt: felt.collect(),
            limits: limits.collect(),
            marks: marks(run),
        }
    }

    /// When a proxy felt a fault; of one that no fault touched, when others did.
    pub(super) fn felt(&self, proxy: &str) -> Vec<Span> {
        let own = self.felt.iter().filter(|(name, _)| name == proxy);
        let own: Vec<Span> = own.map(|(_, span)| *span).collect();
        if own.is_empty() {
            return self.all_felt();
        }
        own
    }

    /// When any proxy felt one.
    pub(super) fn all_felt(&self) -> Vec<Span> {
        self.felt.iter().map(|(_, span)| *span).collect()
    }

    /// Limits on all requests of a proxy, and the times in which they hold.
    pub(super) fn limits(&self, proxy: &str) -> impl Iterator<Item = (&Limit, Vec<Span>)> {
        let mine = self.limits.iter().filter(move |(name, _)| name == proxy);
        mine.filter(|(_, limit)| limit.operation.is_none())
            .map(|(_, limit)| {
                let holds = |phase: &&Phase| match limit.phases.as_slice() {
                    [] => phase.counts,
                    named => named.contains(&phase.name),
                };
                let spans = self.phases.iter().filter(holds).map(|phase| phase.span);
                (limit, spans.collect())
            })
    }

    /// What is to be marked at a proxy: what is about it, and what is about none.
    pub(super) fn marks<'s>(&'s self, proxy: &'s str) -> impl Iterator<Item = &'s Mark> {
        let mine = move |mark: &&Mark| mark.proxy.as_deref().is_none_or(|name| name == proxy);
        self.marks.iter().filter(mine)
    }

    /// How a phase looks.
    pub(super) fn class(&self, phase: &str) -> &str {
        let found = self.phases.iter().find(|p| p.name == phase);
        found.map_or("kind-other", |p| p.class.as_str())
    }
}

/// As long as the longest of what is drawn.
fn length(run: &Document) -> u64 {
    let phases = run.phases.iter().map(|p| p.to);
    let looks = run.watched.iter().filter_map(|w| Some(w.looks.last()?.at));
    let seconds = run.traffic.iter().map(|t| t.seconds.len() as u64);
    // Of the last of them not even its begin has to be known.
    let whole = seconds.map(|n| n.saturating_sub(1).saturating_mul(SECOND) + 1);
    let all = phases.chain(looks).chain(whole);
    all.chain([run.insights.length, 1]).max().unwrap_or(1)
}

fn phases(parts: &[Part]) -> Vec<Phase> {
    let before = |n: usize| {
        parts[..n]
            .iter()
            .filter(|p| p.kind == parts[n].kind)
            .count()
    };
    let phase = |(n, part): (usize, &Part)| Phase {
        name: part.name.clone(),
        class: match before(n) {
            0 => format!("kind-{}", part.kind.name()),
            again => format!("kind-{} again{}", part.kind.name(), (again - 1) % 2 + 1),
        },
        span: Span {
            from: part.from,
            to: part.to,
        },
        counts: !matches!(part.kind, Kind::WarmUp | Kind::Capacity),
    };
    parts.iter().enumerate().map(phase).collect()
}

fn marks(run: &Document) -> Vec<Mark> {
    let mark = |at, what, subject: &str| Mark {
        at,
        what,
        subject: plain(subject),
        proxy: None,
        count: 1,
    };
    let mut marks = Vec::new();
    for fault in &run.faults {
        marks.push(mark(fault.from, Marked::FaultOn, &fault.fault));
        marks.push(mark(fault.to, Marked::FaultOff, &fault.fault));
    }
    if let Some(why) = &run.stopped {
        marks.push(mark(run.insights.length, Marked::Stopped, why));
    }
    for breaker in run.insights.dependencies.iter().flat_map(|d| &d.breakers) {
        of_breaker(&mut marks, breaker);
    }
    for event in &run.events {
        if matches!(
            event.what,
            What::Phase | What::PhasesEnd | What::FaultOn | What::FaultOff
        ) {
            continue;
        }
        marks.push(Mark {
            proxy: Some(event.subject.clone()),
            count: event.count,
            ..mark(event.at, Marked::Other(event.what), &event.subject)
        });
    }
    // Those that count most are kept.
    marks.sort_by_key(|mark| (mark.what, mark.at));
    marks.truncate(MARKS);
    marks.sort_by_key(|mark| (mark.at, mark.what));
    marks
}

/// That it opened, the first time, and that it closed for good: what lies between stands in its own picture.
fn of_breaker(marks: &mut Vec<Mark>, breaker: &Breaker) {
    let opened = matches!(breaker.opening.answer, Ok(Opening::Opened { .. }));
    let first = breaker.episodes.first().filter(|_| opened);
    let mut subject = breaker.dependency.clone();
    if let Some(pid) = breaker.process {
        subject += &format!(", process {pid}");
    }
    let mark = |at, what| Mark {
        at,
        what,
        subject: subject.clone(),
        proxy: None,
        count: 1,
    };
    marks.extend(first.map(|first| mark(first.tripped_to, Marked::Opened)));
    marks.extend(closed_at(breaker).map(|at| mark(at, Marked::Closed)));
}

/// When its calls were back at their rate.
pub(super) fn closed_at(breaker: &Breaker) -> Option<u64> {
    breaker.closing.value()?;
    breaker.closing.evidence.last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_looks_the_same_wherever_it_is_and_unlike_the_others() {
        let part = |name: &str, kind| Part {
            name: name.into(),
            kind,
            from: 0,
            to: 1,
        };
        let kinds = [
            ("w", Kind::WarmUp),
            ("a", Kind::Fault),
            ("r", Kind::Recovery),
            ("b", Kind::Fault),
        ];
        let scene = Scene {
            phases: phases(&kinds.map(|(name, kind)| part(name, kind))),
            ..Scene::default()
        };
        let classes = ["w", "a", "r", "b", "?"].map(|name| scene.class(name));
        let expected = [
            "kind-warm-up",
            "kind-fault",
            "kind-recovery",
            "kind-fault again1",
            "kind-other",
        ];
        assert_eq!(classes, expected);
    }

    #[test]
    fn a_proxy_that_no_fault_touched_shows_when_others_felt_one() {
        let span = |from, to| Span { from, to };
        let scene = Scene {
            felt: vec![("a".into(), span(1, 2)), ("b".into(), span(5, 6))],
            ..Scene::default()
        };
        assert_eq!(scene.felt("a"), [span(1, 2)]);
        assert_eq!(scene.felt("api"), [span(1, 2), span(5, 6)]);
    }
}
