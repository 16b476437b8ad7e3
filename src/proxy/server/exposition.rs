//! What `/metrics` says of the process itself and of the faults that are on, beside what was measured.

use crate::fault::store::{Listed, MAX_FAULTS};
use crate::measure::prometheus::OWN_SERIES;
use std::fmt::{self, Display, Formatter, Write as _};

// They are part of the bound on all series.
const _: () = assert!(5 + 2 * MAX_FAULTS <= OWN_SERIES);

/// Its `Display` is the text.
pub(super) struct Own<'f> {
    pub(super) accept_exhausted: u64,
    pub(super) held_bytes: usize,
    pub(super) ledger_entries: usize,
    pub(super) ledger_dropped: u64,
    pub(super) faults: &'f [Listed],
}

impl Display for Own<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counters = [
            (
                "brownout_accept_exhausted_total",
                "Times that no connection could be accepted for want of descriptors or memory",
                self.accept_exhausted,
            ),
            (
                "brownout_ledger_dropped_total",
                "Entries of the ledger that newer ones have displaced",
                self.ledger_dropped,
            ),
        ];
        for (name, help, value) in counters {
            head(f, name, help, "counter")?;
            writeln!(f, "{name} {value}")?;
        }
        let gauges = [
            (
                "brownout_held_bytes",
                "Bytes that faults hold back",
                self.held_bytes,
            ),
            (
                "brownout_ledger_entries",
                "Entries of the ledger",
                self.ledger_entries,
            ),
            (
                "brownout_faults_active",
                "Faults that are switched on",
                self.faults.len(),
            ),
        ];
        for (name, help, value) in gauges {
            head(f, name, help, "gauge")?;
            writeln!(f, "{name} {value}")?;
        }
        self.each(
            f,
            "brownout_fault_active",
            "1 while the schedule of a fault that is switched on has it in force, else 0",
            |fault| f64::from(u8::from(fault.in_force)),
        )?;
        self.each(
            f,
            "brownout_fault_expires_seconds",
            "Seconds until a fault that is switched on ends by itself",
            |fault| fault.left_ms as f64 / 1000.0,
        )
    }
}

impl Own<'_> {
    fn each(
        &self,
        f: &mut Formatter<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Listed) -> f64,
    ) -> fmt::Result {
        if self.faults.is_empty() {
            return Ok(());
        }
        head(f, name, help, "gauge")?;
        for fault in self.faults {
            write!(f, "{name}{{fault=\"")?;
            escaped(f, &fault.name)?;
            f.write_str("\",profile=\"")?;
            escaped(f, fault.profile.as_deref().unwrap_or_default())?;
            f.write_str("\",proxy=\"")?;
            escaped(f, &fault.fault.proxy)?;
            writeln!(f, "\"}} {}", value(fault))?;
        }
        Ok(())
    }
}

fn head(f: &mut Formatter<'_>, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// A label's value, by the text format of Prometheus.
fn escaped(f: &mut Formatter<'_>, value: &str) -> fmt::Result {
    for c in value.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultSpec, Source, Store};
    use std::time::Instant;

    fn text(faults: &[Listed]) -> String {
        let own = Own {
            accept_exhausted: 1,
            held_bytes: 2,
            ledger_entries: 3,
            ledger_dropped: 4,
            faults,
        };
        own.to_string()
    }

    fn on(name: &str, schedule: &str) -> Vec<Listed> {
        let json = format!(
            r#"{{"name":{},"proxy":"re*","action":"latency","delay":"5ms","ttl":"1m","schedule":{schedule}}}"#,
            serde_json::to_string(name).expect("a text")
        );
        let spec: FaultSpec = serde_json::from_str(&json).expect("a fault");
        let fault = spec.compile("").expect("it compiles");
        let (mut store, now) = (Store::new(1), Instant::now());
        let source = Source::Profile("slow".into());
        store.add(fault, None, source, now).expect("it is added");
        store.list(now)
    }

    #[test]
    fn without_faults_there_are_the_five_of_the_process() {
        let text = text(&[]);
        let series = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(series.count(), 5);
        assert!(text.contains("\nbrownout_faults_active 0\n"), "{text}");
    }

    #[test]
    fn a_fault_says_whether_it_is_in_force_and_when_it_ends() {
        let labels = r#"{fault="f",profile="slow",proxy="re*"}"#;
        let now = text(&on("f", "{}"));
        assert!(now.contains(&format!("\nbrownout_fault_active{labels} 1\n")));
        let left = format!("\nbrownout_fault_expires_seconds{labels} 60\n");
        assert!(now.contains(&left), "{now}");
        let later = text(&on("f", r#"{"start":"10s"}"#));
        assert!(later.contains(&format!("\nbrownout_fault_active{labels} 0\n")));
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        let mut faults = on("f", "{}");
        faults[0].name = "a\"b\\c\nd".into();
        let text = text(&faults);
        assert!(text.contains(r#"{fault="a\"b\\c\nd","#), "{text}");
    }
}
