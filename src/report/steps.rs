//! Seconds put together to steps, where a run is longer than a picture can show: sums of counts, histograms added, the largest of
//! the largest. Nothing is averaged, and what one step is stands beside the picture.

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
}

impl Steps {
    pub(super) fn of(traffic: &Traffic, detail: Detail) -> Self {
        let seconds = &traffic.seconds;
        let width = detail.width(seconds.len());
        let (mut all, mut blind) = (Vec::new(), false);
        for some in seconds.chunks(width) {
            let (step, known) = together(some);
            all.push(step);
            blind |= !known;
        }
        Self {
            all,
            width,
            seconds: seconds.len(),
            blind,
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

    /// When it begins and ends, in seconds.
    pub(super) fn span(&self, step: usize) -> (f64, f64) {
        let first = step * self.width;
        (first as f64, (first + self.width).min(self.seconds) as f64)
    }

    /// "a second", or "15s".
    pub(super) fn words(&self) -> String {
        of_width(self.width).map_or_else(|| "a second".to_owned(), |_| length(self.width))
    }

    /// What a step is, where it is not a second.
    pub(super) fn note(&self) -> Option<String> {
        let mut note = of_width(self.width)?;
        note += if self.blind {
            ": counts are sums, the largest is the largest of all, and percentiles of several seconds are not known"
        } else {
            ": counts are sums, percentiles are those of all its answers (1 % at most above), the largest is the largest of all"
        };
        Some(note)
    }
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
        sum.ended += second.ended;
        sum.failed += second.failed;
        sum.injected += second.injected;
        sum.outstanding = sum.outstanding.max(second.outstanding);
        sum.max_us = sum.max_us.max(second.max_us);
        for (bucket, count) in &second.buckets {
            *sum.buckets.entry(*bucket).or_default() += count;
        }
        let answered = second.buckets.values().sum::<u64>() > 0;
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
            rare: 0,
            outstanding: 0,
            lost: 0,
        }
    }

    const fn steps(steps: usize) -> Detail {
        Detail::new(steps, 1, Runs::All)
    }

    #[test]
    fn percentiles_of_a_step_are_those_of_its_answers_and_no_average() {
        // 99 answers of 100 us in one second, one of a second in the other: the median of both is 100 us, their mean half a second.
        let seconds = vec![second(&[100; 99]), second(&[1_000_000])];
        let thinned = Steps::of(&traffic(seconds), steps(1));
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
                .starts_with("one step is 2s: counts are sums, percentiles are those of")
        );
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let seconds = vec![second(&[1]), second(&[]), second(&[2, 3])];
        let as_it_is = Steps::of(&traffic(seconds.clone()), steps(3));
        assert_eq!((as_it_is.all.clone(), as_it_is.note()), (seconds, None));
        assert_eq!(as_it_is.name(2), "2");
    }

    #[test]
    fn counts_are_sums_and_nothing_is_lost_at_the_end() {
        let mut seconds = vec![second(&[10]); 7];
        seconds[6].outstanding = 5;
        seconds[2].failed = 3;
        let thinned = Steps::of(&traffic(seconds), steps(2));
        assert_eq!((thinned.width, thinned.all.len()), (5, 2));
        let ended: Vec<u64> = thinned.all.iter().map(|s| s.ended).collect();
        assert_eq!(ended, [5, 2]);
        assert_eq!((thinned.all[0].failed, thinned.all[1].outstanding), (3, 5));
        assert_eq!(thinned.name(1), "5 to 6");
    }

    #[test]
    fn where_nothing_was_answered_there_is_no_figure() {
        let thinned = Steps::of(&traffic(vec![second(&[]); 2]), steps(1));
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
        let thinned = Steps::of(&traffic(seconds), steps(1));
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
}
