//! The result of a demo, for people and as JSON.

use super::figures::Figures;
use super::load::Counts;
use super::targets::{Kind, Row, Unit, Verdict};
use crate::folder::Folder;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;

/// Of the JSON document; grows when a reader of the last version could not read the next.
const VERSION: u32 = 1;
/// The name of the file in the folder of `--report`.
const FILE: &str = "demo.json";
/// Columns of a terminal that the table is made for.
const WIDTHS: std::ops::RangeInclusive<u16> = 80..=120;

/// One phase of the demo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// `before`, `during` or `after`.
    pub name: &'static str,
    /// What the proxies measured.
    pub figures: Figures,
    /// What the generators did, by their name, as the clients saw it.
    pub load: BTreeMap<&'static str, Counts>,
    /// The figures held against the targets and alerts.
    pub rows: Vec<Row>,
}

/// A whole demo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Of this document.
    pub version: u32,
    /// Whether it was the short one.
    pub quick: bool,
    /// The profile that was on in the phase `during`.
    pub profile: &'static str,
    /// In their order.
    pub phases: Vec<Phase>,
    /// The worst verdict on a target before and after, when no fault was on: `pass`, `fail` or `inconclusive`.
    pub outcome: Outcome,
}

/// What a demo came to, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All targets were kept while no fault was on, and the fault did touch something.
    Pass,
    /// Nothing failed, but not everything could be judged.
    Inconclusive,
    /// A target was missed while no fault was on.
    Fail,
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Inconclusive { .. } => Self::Inconclusive,
            Verdict::Fail => Self::Fail,
        }
    }
}

impl Report {
    /// From the phases, in their order. Alerts and the phase with the fault do not decide the outcome: that is where limits
    /// are meant to be passed.
    pub fn new(quick: bool, profile: &'static str, phases: Vec<Phase>) -> Self {
        let calm = phases.iter().filter(|phase| phase.name != DURING);
        let rows = calm.flat_map(|phase| &phase.rows);
        let targets = rows.filter(|row| row.kind == Kind::Target);
        let outcome = targets.map(|row| &row.verdict).map(Outcome::from).max();
        let outcome = outcome.unwrap_or(Outcome::Inconclusive);
        let report = Self {
            version: VERSION,
            quick,
            profile,
            phases,
            outcome,
        };
        // A fault that touched nothing shows nothing.
        if report.injected() == 0 && report.outcome == Outcome::Pass {
            return Self {
                outcome: Outcome::Inconclusive,
                ..report
            };
        }
        report
    }

    /// Writes it as JSON; where it is then.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, folder: &Folder) -> io::Result<PathBuf> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        folder.write(FILE, text)
    }

    /// Requests that the profile touched.
    pub fn injected(&self) -> u64 {
        let during = self.phases.iter().filter(|phase| phase.name == DURING);
        during.map(|phase| phase.figures.injected()).sum()
    }

    /// The table, as wide as the terminal within what is readable, and what it means.
    pub fn render(&self, width: u16) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width.clamp(*WIDTHS.start(), *WIDTHS.end()));
        let phases = self.phases.iter().map(|phase| phase.name);
        table.set_header(["", "target"].into_iter().chain(phases));
        let lines = self.phases.first().map_or(0, |phase| phase.rows.len());
        let mut last = None;
        for line in 0..lines {
            let rows: Vec<&Row> = self
                .phases
                .iter()
                .filter_map(|phase| phase.rows.get(line))
                .collect();
            let Some(first) = rows.first() else {
                continue;
            };
            let component = first.component.name();
            let label = if last == Some(component) {
                ""
            } else {
                component
            };
            last = Some(component);
            let target = match first.kind {
                Kind::Target => first.target.to_owned(),
                Kind::Alert => format!("! {}", first.target),
            };
            let cells = rows.iter().map(|row| cell(row));
            table.add_row([label.to_owned(), target].into_iter().chain(cells));
        }
        // The phases share what the names leave; in a narrow terminal, they take two lines.
        for column in table.column_iter_mut().take(2) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        let mut text = table.to_string();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\nIn parentheses: samples; `!`: an alert, quiet or raised.\n\
             During the middle phase, {} was on and touched {} requests.\n",
            self.profile,
            self.injected()
        );
        text
    }
}

/// The name of the phase in which the profile is on.
pub(super) const DURING: &str = "during";

fn cell(row: &Row) -> String {
    let verdict = match (&row.verdict, row.kind) {
        (Verdict::Inconclusive { .. }, _) if row.samples < row.needed => {
            return format!("inconclusive ({} of {})", row.samples, row.needed);
        }
        (Verdict::Inconclusive { .. }, _) => return "inconclusive".to_owned(),
        (Verdict::Pass, Kind::Target) => "pass",
        (Verdict::Fail, Kind::Target) => "FAIL",
        (Verdict::Pass, Kind::Alert) => "quiet",
        (Verdict::Fail, Kind::Alert) => "RAISED",
    };
    let measured = row
        .measured
        .map_or_else(String::new, |value| match row.unit {
            Unit::Milliseconds if value >= 10.0 => format!("{value:.1} ms"),
            Unit::Milliseconds => format!("{value:.2} ms"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Share => format!("{:.1} %", value * 100.0),
            Unit::Count => format!("{value:.0}"),
        });
    format!("{verdict} {measured} ({})", row.samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::figures::{Component, Latency, Traffic};
    use crate::demo::targets;

    fn phase(name: &'static str, ms: f64, samples: u64, injected: u64) -> Phase {
        let latency = Some(Latency {
            samples,
            mean_us: ms * 1000.0,
            p95_us: ms * 1000.0,
            p99_us: ms * 1000.0,
            max_us: ms * 1000.0,
        });
        let component = Component {
            latency,
            traffic: Traffic {
                count: samples,
                failures: 0,
                per_second: 1500.0,
            },
            injected: 0,
            pool_use: Some(0.125),
        };
        let figures = Figures {
            seconds: 1.0,
            api: component.clone(),
            redis: Component {
                injected,
                ..component.clone()
            },
            postgres: component,
            health: latency,
            create: latency,
            list: latency,
            delivery: latency,
            reads: latency,
            writes: latency,
            transactions: crate::demo::figures::Transactions {
                begun: 7,
                ended: 7,
                ..Default::default()
            },
        };
        Phase {
            name,
            rows: targets::rows(&figures),
            figures,
            load: BTreeMap::new(),
        }
    }

    fn report(before: f64, after_samples: u64, injected: u64) -> Report {
        let phases = vec![
            phase("before", before, 1234, 0),
            phase("during", 30.0, 500, injected),
            phase("after", 1.5, after_samples, 0),
        ];
        Report::new(true, "redis-slow", phases)
    }

    #[test]
    fn the_table_reads_well_at_both_widths() {
        for width in [80, 120] {
            let text = report(0.5, 12, 100).render(width);
            insta::assert_snapshot!(format!("table_{width}"), text);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} columns");
        }
    }

    #[test]
    fn the_calm_phases_decide_and_a_fault_that_touched_nothing_is_no_pass() {
        assert_eq!(report(0.5, 1000, 100).outcome, Outcome::Pass);
        assert_eq!(report(0.5, 1000, 0).outcome, Outcome::Inconclusive);
        assert_eq!(report(0.5, 12, 100).outcome, Outcome::Inconclusive);
        assert_eq!(report(50.0, 12, 100).outcome, Outcome::Fail);
    }

    #[test]
    fn the_json_says_what_the_table_says() {
        let json = serde_json::to_value(report(0.5, 12, 100)).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["outcome"], "inconclusive");
        let row = &json["phases"][2]["rows"][0];
        assert_eq!(row["target"], "health p95 < 100 ms");
        assert_eq!(row["verdict"], "inconclusive");
        assert_eq!(row["reason"], "12 of 59 samples");
        assert_eq!(row["unit"], "milliseconds");
        assert_eq!(json["phases"][1]["figures"]["redis"]["injected"], 100);
    }
}
