//! Seconds put together to steps, where a run is longer than a picture can show: sums of counts, histograms added, the largest of
//! the largest. Nothing is averaged, and what one step is stands beside the picture.

use super::figure;
use super::scene::Scene;
use super::traffic::{Look, Process, Second, Traffic, latencies_of, us_at};
use crate::insight::SECOND;
use crate::verify::verdict::Counts;
use hdrhistogram::Histogram;
use std::time::Duration;

/// How much of everything a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detail {
    /// Steps of a picture at most.
    pub(super) steps: usize,
    /// Rows of a table of operations at most.
    pub(super) rows: usize,
    /// Of which runs more is shown than their verdicts.
    pub(super) runs: Runs,
}

/// Some of the runs of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    All,
    /// Those in which something did not pass.
    NotPassed,
    None,
}

impl Runs {
    /// Whether a run with this result is among them.
    pub(super) fn has(self, result: Counts) -> bool {
        match self {
            Self::All => true,
            Self::NotPassed => result != Counts::Passed,
            Self::None => false,
        }
    }
}

impl Detail {
    /// From the finest to the coarsest.
    pub(super) const ALL: [Self; 8] = [
        Self::new(240, 512, Runs::All),
        Self::new(120, 512, Runs::All),
        Self::new(60, 128, Runs::All),
        Self::new(30, 64, Runs::All),
        Self::new(15, 32, Runs::All),
        Self::new(30, 64, Runs::NotPassed),
        Self::new(15, 16, Runs::NotPassed),
        Self::new(15, 16, Runs::None),
    ];

    const fn new(steps: usize, rows: usize, runs: Runs) -> Self {
        Self { steps, rows, runs }
    }

    /// Seconds of a step, for so many.
    fn width(self, seconds: usize) -> usize {
        const ROUND: [usize; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
        let needed = seconds.div_ceil(self.steps).max(1);
        let round = ROUND.into_iter().find(|width| *width >= needed);
        round.unwrap_or(needed)
    }
}

/// What is shorter than this says nothing of a rate, in seconds.
const SHORTEST: f64 = 0.2;

/// Seconds that a percentile is taken of together at most, where single ones have too few answers.
const WIDEST: usize = 30;

/// What passed a proxy, by step.
#[derive(Debug)]
pub(super) struct Steps {
    /// Each with the figures of its seconds together.
    pub(super) all: Vec<Second>,
    /// Seconds of one; the last may have fewer.
    pub(super) width: usize,
    /// Seconds in all.
    pub(super) seconds: usize,
    /// Percentiles of several seconds together are not known: the document has no histograms of seconds.
    pub(super) blind: bool,
    /// The p95 of one step or of several, in their order: only where there are answers enough.
    pub(super) p95: Vec<Wide>,
    /// When load began, and when the recording ended, in seconds: what lies outside is no part of a rate.
    load: (f64, f64),
}

/// A percentile of several steps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide {
    /// The first of them.
    pub(super) first: usize,
    /// The last of them.
    pub(super) last: usize,
    pub(super) p95_us: u64,
}

impl Steps {
    pub(super) fn of(traffic: &Traffic, detail: Detail, scene: &Scene) -> Self {
        let seconds = &traffic.seconds;
        let width = detail.width(seconds.len());
        let (mut all, mut blind) = (Vec::new(), false);
        for some in seconds.chunks(width) {
            let (step, known) = together(some);
            all.push(step);
            blind |= !known;
        }
        let at = |ns: u64| ns as f64 / SECOND as f64;
        let begins = scene.phases.iter().map(|p| at(p.span.from));
        let breaks = begins.map(|s| (s / width as f64).round() as usize);
        Self {
            p95: wide(seconds, width, &all, &breaks.collect::<Vec<_>>()),
            all,
            width,
            seconds: seconds.len(),
            blind,
            load: (
                scene.phases.first().map_or(0.0, |p| at(p.span.from)),
                scene.seconds,
            ),
        }
    }

    /// Its seconds, for people: "7", or "30 to 44".
    pub(super) fn name(&self, step: usize) -> String {
        let first = step * self.width;
        match (first + self.width).min(self.seconds) - 1 {
            last if last > first => format!("{first} to {last}"),
            _ => first.to_string(),
        }
    }

    /// When it begins and ends, in seconds, of what there was load in.
    pub(super) fn span(&self, step: usize) -> (f64, f64) {
        let (from, to) = self.whole(step);
        let begin = if self.load.0 < to {
            from.max(self.load.0)
        } else {
            from
        };
        let end = if self.load.1 > begin {
            to.min(self.load.1)
        } else {
            to
        };
        (begin, end)
    }

    fn whole(&self, step: usize) -> (f64, f64) {
        let first = step * self.width;
        (first as f64, (first + self.width).min(self.seconds) as f64)
    }

    /// So many in a step, a second. `None`: it is too short for a rate.
    pub(super) fn rate(&self, step: usize, count: u64) -> Option<f64> {
        let (from, to) = self.span(step);
        (to - from >= SHORTEST).then(|| count as f64 / (to - from))
    }

    /// The p95 that a step is part of.
    pub(super) fn p95_of(&self, step: usize) -> Option<Wide> {
        let part = |wide: &&Wide| (wide.first..=wide.last).contains(&step);
        self.p95.iter().find(part).copied()
    }

    /// Its seconds, and those of steps with which it is taken together.
    pub(super) fn name_of(&self, wide: Wide) -> String {
        let first = wide.first * self.width;
        let last = ((wide.last + 1) * self.width).min(self.seconds) - 1;
        format!("{first} to {last}")
    }

    /// "a second", or "15s".
    pub(super) fn words(&self) -> String {
        of_width(self.width).map_or_else(|| "a second".to_owned(), |_| length(self.width))
    }

    /// What a step is, where it is not a second.
    pub(super) fn note(&self) -> Option<String> {
        let mut note = of_width(self.width)?;
        note += if self.blind {
            ": counts are sums, what waits is the most of any second, the largest is the largest of all, and percentiles of several seconds are not known"
        } else {
            ": counts are sums, what waits is the most of any second, percentiles are those of all its answers (1 % at most above), the largest is the largest of all"
        };
        Some(note)
    }

    /// What is not as it looks: rates of less than a second, and percentiles of several.
    pub(super) fn caveats(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.parts().any(|n| self.rate(n, 0).is_some()) {
            told.push("Parts of seconds are drawn with their real length and rate.".to_owned());
        }
        let missing = |s: &Second| s.p95_us.is_some() && !enough(s);
        if self.all.iter().any(missing) || self.p95.iter().any(|p| p.last > p.first) {
            let step = self.words();
            told.push(format!(
                "p95 needs 59 answers: where {step} has fewer, it is of several together (flat) or missing."
            ));
        }
        told
    }

    /// Times of which there is no bar, and what passed in them.
    pub(super) fn too_short(&self) -> Vec<String> {
        let short = self.parts().filter(|n| self.rate(*n, 0).is_none());
        let told = short.map(|n| {
            let (from, to) = self.span(n);
            let count = self.all[n].ended;
            format!("{from:.2} s to {to:.2} s ({count} ended) is too short for a bar")
        });
        told.collect()
    }

    /// Steps that are no whole ones, and in which something ended.
    fn parts(&self) -> impl Iterator<Item = usize> {
        let part = |n: &usize| self.span(*n) != self.whole(*n) && self.all[*n].ended > 0;
        (0..self.all.len()).filter(part)
    }
}

/// A document may have been changed by hand: what no number holds is very many.
fn answered(step: &Second) -> u64 {
    step.buckets.values().copied().fold(0, u64::saturating_add)
}

fn enough(step: &Second) -> bool {
    figure::bounded(0.95, answered(step))
}

/// The p95 of every step that has answers enough, and of as many together as it takes where they have not: in one phase, and
/// not across what was not answered at all.
fn wide(seconds: &[Second], width: usize, all: &[Second], breaks: &[usize]) -> Vec<Wide> {
    let mut found = Vec::new();
    let mut first = 0;
    for (n, step) in all.iter().enumerate() {
        if answered(step) == 0 {
            first = n + 1;
            continue;
        }
        if breaks.contains(&n) || enough(step) || (n - first) * width >= WIDEST {
            first = n;
        }
        let some = &all[first..=n];
        if !figure::bounded(0.95, some.iter().map(answered).fold(0, u64::saturating_add)) {
            continue;
        }
        let of = (first * width)..((n + 1) * width).min(seconds.len());
        let p95 = if first == n {
            step.p95_us
        } else {
            together(&seconds[of]).0.p95_us
        };
        found.extend(p95.map(|p95_us| Wide {
            first,
            last: n,
            p95_us,
        }));
        first = n + 1;
    }
    found
}

fn length(seconds: usize) -> String {
    humantime::format_duration(Duration::from_secs(seconds as u64)).to_string()
}

/// "one step is 15s".
fn of_width(width: usize) -> Option<String> {
    (width > 1).then(|| format!("one step is {}", length(width)))
}

/// Several seconds as one, and whether its percentiles are known.
fn together(some: &[Second]) -> (Second, bool) {
    if let [one] = some {
        return (one.clone(), true);
    }
    let mut sum = Second::default();
    let mut latencies: Option<Histogram<u64>> = None;
    let mut known = true;
    for second in some {
        sum.ended = sum.ended.saturating_add(second.ended);
        sum.failed = sum.failed.saturating_add(second.failed);
        sum.injected = sum.injected.saturating_add(second.injected);
        sum.outstanding = sum.outstanding.max(second.outstanding);
        sum.waited_us = sum.waited_us.max(second.waited_us);
        sum.max_us = sum.max_us.max(second.max_us);
        for (bucket, count) in &second.buckets {
            *sum.buckets.entry(*bucket).or_default() += count;
        }
        let answered = answered(second) > 0;
        match (answered.then(|| latencies_of(second)), &mut latencies) {
            (None, _) => {}
            (Some(None), _) => known = false,
            (Some(Some(more)), Some(all)) => known &= all.add(&more).is_ok(),
            (Some(Some(first)), none) => *none = Some(first),
        }
    }
    if let Some(latencies) = latencies.filter(|_| known) {
        sum.p50_us = us_at(&latencies, 0.5, sum.max_us);
        sum.p95_us = us_at(&latencies, 0.95, sum.max_us);
    }
    (sum, known)
}

/// Looks at a process, by step: the most of each figure.
pub(super) fn looks(process: &Process, detail: Detail) -> (Process, Option<String>) {
    let seconds = process.looks.last().map_or(0, |look| look.at / SECOND + 1);
    let width = detail.width(usize::try_from(seconds).unwrap_or(usize::MAX));
    let step = |look: &Look| look.at / SECOND / width as u64;
    let together = |some: &[Look]| {
        let most = |of: fn(&Look) -> u32| some.iter().map(of).max().unwrap_or(0);
        Look {
            at: some.first().map_or(0, |look| look.at),
            memory: some.iter().map(|look| look.memory).max().unwrap_or(0),
            cpu: some.iter().filter_map(|look| look.cpu).reduce(f64::max),
            descriptors: most(|look| look.descriptors),
            threads: most(|look| look.threads),
        }
    };
    let looks = process
        .looks
        .chunk_by(|a, b| width == 1 || step(a) == step(b));
    let looks = if width == 1 {
        process.looks.clone()
    } else {
        looks.map(together).collect()
    };
    let note = of_width(width).map(|note| note + ": the most of each figure");
    let name = process.name.clone();
    (Process { name, looks }, note)
}

#[cfg(test)]
mod tests {
    use super::super::traffic::tests::second;
    use super::*;

    fn traffic(seconds: Vec<Second>) -> Traffic {
        Traffic {
            proxy: "p".into(),
            protocol: "redis".into(),
            seconds,
            operations: Vec::new(),
            phases: Vec::new(),
            rare: 0,
            outstanding: 0,
            lost: 0,
        }
    }

    /// Of a run that took so many seconds.
    fn scene(seconds: f64) -> Scene {
        Scene {
            seconds,
            ..Scene::default()
        }
    }

    fn of(seconds: Vec<Second>, detail: Detail) -> Steps {
        let all = seconds.len() as f64;
        Steps::of(&traffic(seconds), detail, &scene(all))
    }

    const fn steps(steps: usize) -> Detail {
        Detail::new(steps, 1, Runs::All)
    }

    #[test]
    fn percentiles_of_a_step_are_those_of_its_answers_and_no_average() {
        // 99 answers of 100 us in one second, one of a second in the other: the median of both is 100 us, their mean half a second.
        let seconds = vec![second(&[100; 99]), second(&[1_000_000])];
        let thinned = of(seconds, steps(1));
        assert_eq!(
            (thinned.width, thinned.all.len(), thinned.blind),
            (2, 1, false)
        );
        let step = &thinned.all[0];
        let near = |figure: Option<u64>, exact: u64| {
            let figure = figure.expect("it is known");
            assert!(
                (exact..=exact + exact / 100 + 1).contains(&figure),
                "{figure}, not {exact}"
            );
        };
        near(step.p50_us, 100);
        near(step.p95_us, 100);
        assert_eq!((step.max_us, step.ended), (Some(1_000_000), 100), "exact");
        assert_eq!(step.buckets.values().sum::<u64>(), 100);
        assert_eq!(thinned.name(0), "0 to 1");
        assert!(
            thinned
                .note()
                .expect("it is thinned")
                .starts_with("one step is 2s: counts are sums, what waits is the most of any second, percentiles are those of")
        );
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let seconds = vec![second(&[1]), second(&[]), second(&[2, 3])];
        let as_it_is = of(seconds.clone(), steps(3));
        assert_eq!((as_it_is.all.clone(), as_it_is.note()), (seconds, None));
        assert_eq!(as_it_is.name(2), "2");
    }

    #[test]
    fn counts_are_sums_and_nothing_is_lost_at_the_end() {
        let mut seconds = vec![second(&[10]); 7];
        seconds[6].outstanding = 5;
        seconds[2].failed = 3;
        let thinned = of(seconds, steps(2));
        assert_eq!((thinned.width, thinned.all.len()), (5, 2));
        let ended: Vec<u64> = thinned.all.iter().map(|s| s.ended).collect();
        assert_eq!(ended, [5, 2]);
        assert_eq!((thinned.all[0].failed, thinned.all[1].outstanding), (3, 5));
        assert_eq!(thinned.name(1), "5 to 6");
    }

    #[test]
    fn where_nothing_was_answered_there_is_no_figure() {
        let thinned = of(vec![second(&[]); 2], steps(1));
        assert_eq!(
            (thinned.all[0].p50_us, thinned.all[0].max_us, thinned.blind),
            (None, None, false)
        );
    }

    #[test]
    fn a_document_without_histograms_of_seconds_gives_no_percentiles_of_steps() {
        let mut seconds = vec![second(&[10]), second(&[20])];
        for second in &mut seconds {
            second.histogram = None;
        }
        let thinned = of(seconds, steps(1));
        assert!(thinned.blind && thinned.note().expect("thinned").ends_with("are not known"));
        assert_eq!(
            (thinned.all[0].p50_us, thinned.all[0].max_us),
            (None, Some(20))
        );
    }

    #[test]
    fn of_looks_the_most_is_kept() {
        let look = |at: u64, memory, cpu| Look {
            at: at * SECOND + 1,
            memory,
            cpu,
            descriptors: u32::try_from(memory).expect("small"),
            threads: 1,
        };
        let process = Process {
            name: "x".into(),
            looks: vec![
                look(0, 1, None),
                look(1, 9, Some(0.5)),
                look(2, 3, Some(0.1)),
                look(3, 2, None),
            ],
        };
        let (thinned, note) = looks(&process, steps(2));
        let shown: Vec<_> = thinned
            .looks
            .iter()
            .map(|l| (l.at / SECOND, l.memory, l.cpu, l.descriptors))
            .collect();
        assert_eq!(shown, [(0, 9, Some(0.5), 9), (2, 3, Some(0.1), 3)]);
        assert_eq!(
            note.as_deref(),
            Some("one step is 2s: the most of each figure")
        );
        assert_eq!(looks(&process, steps(4)), (process.clone(), None));
    }

    #[test]
    fn steps_are_round_and_few_enough() {
        for seconds in [1, 2, 239, 240, 241, 3_600, 100_000] {
            for detail in Detail::ALL {
                let width = detail.width(seconds);
                assert!(
                    seconds.div_ceil(width) <= detail.steps,
                    "{seconds}: {width}"
                );
            }
        }
        assert_eq!(Detail::ALL[0].width(3_600), 15);
        assert_eq!(Detail::ALL[2].width(3_600), 60);
    }

    #[test]
    fn a_percentile_is_of_as_many_seconds_as_it_takes_in_one_phase_and_not_across_a_gap() {
        let some = |n: usize| second(&vec![100; n]);
        // Enough; too few twice, together enough; nothing; too few, before the end.
        let all = vec![some(60), some(30), some(30), some(0), some(58)];
        let at = |first, last| Wide {
            first,
            last,
            p95_us: 100,
        };
        assert_eq!(of(all.clone(), steps(9)).p95, [at(0, 0), at(1, 2)]);
        assert_eq!(wide(&all, 1, &all, &[2]), [at(0, 0)], "a phase begins");
        let told = of(all, steps(9)).caveats();
        assert!(told[0].starts_with("p95 needs 59 answers"), "{told:?}");
    }

    #[test]
    fn a_part_of_a_second_is_no_collapse() {
        let all = vec![second(&[9; 50]), second(&[9; 100]), second(&[9; 25])];
        let mut run = scene(2.25);
        let steps = Steps::of(&traffic(all.clone()), steps(9), &run);
        assert_eq!(steps.rate(1, 100), Some(100.0));
        assert_eq!(steps.rate(2, 25), Some(100.0), "a quarter of a second");
        assert_eq!(steps.span(2), (2.0, 2.25));
        run.seconds = 2.1;
        let steps = Steps::of(&traffic(all), Detail::new(9, 1, Runs::All), &run);
        assert_eq!(steps.rate(2, 25), None);
        assert_eq!(
            steps.too_short(),
            ["2.00 s to 2.10 s (25 ended) is too short for a bar"]
        );
    }
}
