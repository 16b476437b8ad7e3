//! A report read back: whatever a file says, the forms get only what they can show.
//!
//! Everything that is refused names its field and what to do; nothing behind this looks again.

use super::Suite;
use super::suite::{VERSION, gravest};
use super::traffic::{LONGEST, Operation, Second, Traffic};
use crate::verify::document::{self, Document};
use serde::Deserialize;

/// Bytes of a document at most: what takes seconds to read is no report.
pub(crate) const MOST_BYTES: usize = 512 << 20;

/// The largest count: sums of as many as fit into a document stay below 2^64.
const MOST: u64 = 1 << 40;

/// The highest bucket of a second.
const HIGHEST_BUCKET: u8 = 63;

/// Phases at most.
const PHASES: usize = 1_000;

/// Looks at a process at most: eleven days of them.
const LOOKS: usize = 1_000_000;

/// Why a document is no report that can be shown.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ReadError {
    #[error(
        "it has more than the {MOST_BYTES} bytes that are read at most; change: expected the report.json of `brownout test --report DIR`"
    )]
    TooLarge,
    #[error("{field}: {why}; change: expected the report.json of `brownout test --report DIR`")]
    NoReport { field: String, why: String },
    #[error(
        "{field}: version {found}; this program reads {reads}; change: use {program}, which wrote it, or make the report anew"
    )]
    Version {
        field: String,
        found: u64,
        reads: u32,
        program: String,
    },
    #[error("{field}: {why}; change: make the report anew")]
    Broken { field: String, why: String },
}

/// What stands at the same place in every version.
#[derive(Deserialize)]
struct Head {
    version: u64,
    #[serde(default)]
    program: Option<String>,
    #[serde(default)]
    runs: Vec<RunHead>,
}

#[derive(Deserialize)]
struct RunHead {
    version: u64,
}

/// The document of these bytes.
///
/// # Errors
/// It is none, one of another version, or one with figures that no run has.
pub(crate) fn read(text: &[u8]) -> Result<Suite, ReadError> {
    if text.len() > MOST_BYTES {
        return Err(ReadError::TooLarge);
    }
    // The version first: of another one any field may be otherwise.
    let head: Head = parsed(text)?;
    of_version("version", head.version, VERSION, &head)?;
    for (n, run) in head.runs.iter().enumerate() {
        let field = format!("runs[{n}].version");
        of_version(&field, run.version, document::VERSION, &head)?;
    }
    let mut suite: Suite = parsed(text)?;
    for (n, run) in suite.runs.iter().enumerate() {
        check(run).map_err(|(field, why)| ReadError::Broken {
            field: format!("runs[{n}].{field}"),
            why,
        })?;
    }
    // Programs before this one took an error for a pass.
    suite.result = suite.result.max(gravest(&suite.runs, &suite.errors));
    Ok(suite)
}

fn parsed<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, ReadError> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => "the document".to_owned(),
            path => path.to_owned(),
        };
        let why = error.into_inner().to_string();
        ReadError::NoReport { field, why }
    })?;
    from.end().map_err(|error| ReadError::NoReport {
        field: "the document".into(),
        why: error.to_string(),
    })?;
    Ok(read)
}

fn of_version(field: &str, found: u64, reads: u32, head: &Head) -> Result<(), ReadError> {
    if found == u64::from(reads) {
        return Ok(());
    }
    let program = head.program.as_deref().unwrap_or("the program");
    Err(ReadError::Version {
        field: field.into(),
        found,
        reads,
        program: super::figure::plain(program),
    })
}

/// A field that is not as it can be, and why.
type Refused = (String, String);

fn check(run: &Document) -> Result<(), Refused> {
    few(run.phases.len(), PHASES).map_err(|why| ("phases".to_owned(), why))?;
    for (n, phase) in run.phases.iter().enumerate() {
        if phase.to < phase.from {
            let why = "the phase ends before it begins".to_owned();
            return Err((format!("phases[{n}].to"), why));
        }
    }
    for (n, traffic) in run.traffic.iter().enumerate() {
        of_traffic(traffic).map_err(|(field, why)| (format!("traffic[{n}].{field}"), why))?;
    }
    for (n, process) in run.watched.iter().enumerate() {
        few(process.looks.len(), LOOKS).map_err(|why| (format!("watched[{n}].looks"), why))?;
    }
    for (n, event) in run.events.iter().enumerate() {
        small(event.count).map_err(|why| (format!("events[{n}].count"), why))?;
    }
    for (n, group) in run.ledger.iter().flat_map(|l| &l.groups).enumerate() {
        small(group.count).map_err(|why| (format!("ledger.groups[{n}].count"), why))?;
    }
    Ok(())
}

fn of_traffic(traffic: &Traffic) -> Result<(), Refused> {
    let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
    few(traffic.seconds.len(), longest).map_err(|why| ("seconds".to_owned(), why))?;
    for (n, second) in traffic.seconds.iter().enumerate() {
        of_second(second).map_err(|(field, why)| (format!("seconds[{n}].{field}"), why))?;
    }
    for (n, operation) in traffic.operations.iter().enumerate() {
        of_operation(operation)
            .map_err(|(field, why)| (format!("operations[{n}].{field}"), why))?;
    }
    Ok(())
}

fn of_second(second: &Second) -> Result<(), Refused> {
    let counts = [
        ("ended", second.ended),
        ("failed", second.failed),
        ("injected", second.injected),
        ("outstanding", second.outstanding),
    ];
    all_small(&counts)?;
    for (bucket, count) in &second.buckets {
        let field = || format!("buckets.{bucket}");
        if *bucket > HIGHEST_BUCKET {
            let why = format!("there are buckets up to {HIGHEST_BUCKET}");
            return Err((field(), why));
        }
        small(*count).map_err(|why| (field(), why))?;
    }
    Ok(())
}

fn of_operation(operation: &Operation) -> Result<(), Refused> {
    let counts = [
        ("ended", operation.ended),
        ("failed", operation.failed),
        ("injected", operation.injected),
        ("answered", operation.answered),
    ];
    all_small(&counts)?;
    // A comparison of nothing would find nothing worse.
    if operation.latencies().is_none() {
        let why = "it cannot be read, or has not as many latencies as were answered".to_owned();
        return Err(("histogram".into(), why));
    }
    Ok(())
}

fn all_small(counts: &[(&str, u64)]) -> Result<(), Refused> {
    for (field, count) in counts {
        small(*count).map_err(|why| ((*field).to_owned(), why))?;
    }
    Ok(())
}

fn small(count: u64) -> Result<(), String> {
    if count <= MOST {
        return Ok(());
    }
    Err(format!("{count} is more than any run counts ({MOST})"))
}

fn few(entries: usize, most: usize) -> Result<(), String> {
    if entries <= most {
        return Ok(());
    }
    Err(format!(
        "{entries} entries, of which there are {most} at most"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixed;
    use super::*;
    use crate::verify::verdict::Counts;
    use serde_json::{Value, json};

    fn changed(of: impl FnOnce(&mut Value)) -> Result<Suite, ReadError> {
        let mut document = serde_json::to_value(fixed()).expect("JSON");
        of(&mut document);
        read(&serde_json::to_vec(&document).expect("JSON"))
    }

    fn refused(of: impl FnOnce(&mut Value)) -> String {
        changed(of).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_was_written_is_read() {
        let suite = changed(|_| {}).expect("it is a report");
        assert_eq!(suite.sentence(), fixed().sentence());
    }

    #[test]
    fn what_no_run_counts_is_refused_with_its_field() {
        let most = u64::MAX;
        for (pointer, value, field) in [
            (
                "/runs/0/traffic/0/seconds/1/buckets",
                json!({ "64": 3 }),
                "runs[0].traffic[0].seconds[1].buckets.64: there are",
            ),
            (
                "/runs/0/traffic/0/seconds/1/buckets",
                json!({ "9": most }),
                "runs[0].traffic[0].seconds[1].buckets.9: 184",
            ),
            (
                "/runs/0/traffic/0/seconds/0/ended",
                json!(most),
                "runs[0].traffic[0].seconds[0].ended: 184",
            ),
            (
                "/runs/0/traffic/0/operations/0/failed",
                json!(most),
                "runs[0].traffic[0].operations[0].failed: 184",
            ),
            (
                "/runs/0/traffic/0/operations/0/histogram",
                json!("AAAA"),
                "runs[0].traffic[0].operations[0].histogram: it cannot",
            ),
            (
                "/runs/0/ledger/groups/0/count",
                json!(most),
                "runs[0].ledger.groups[0].count: 184",
            ),
            (
                "/runs/0/events/0/count",
                json!(most),
                "runs[0].events[0].count: 184",
            ),
            // 40 bytes that say that four gigabytes follow.
            (
                "/runs/0/traffic/0/operations/0/histogram",
                json!("HISTE/////8AAAAAAAAAAwAAAAAAAAABAAAAANaTpAA/8AAAAAAAAA=="),
                "runs[0].traffic[0].operations[0].histogram: it cannot",
            ),
            (
                "/runs/0/phases/0/from",
                json!(most),
                "runs[0].phases[0].to: the phase ends before",
            ),
        ] {
            let said = refused(|document| *document.pointer_mut(pointer).expect(pointer) = value);
            assert!(said.starts_with(field), "{said}");
            assert!(said.ends_with("; change: make the report anew"), "{said}");
        }
    }

    #[test]
    fn more_seconds_than_a_timeline_has_are_refused() {
        let said = refused(|document| {
            let seconds = document
                .pointer_mut("/runs/0/traffic/0/seconds")
                .expect("there");
            let second = seconds[1].clone();
            *seconds = vec![second; 160_000].into();
        });
        assert!(
            said.starts_with("runs[0].traffic[0].seconds: 160000 entries"),
            "{said}"
        );
    }

    #[test]
    fn another_version_is_refused_with_the_program_that_reads_it() {
        for pointer in ["/version", "/runs/0/version"] {
            let said = refused(|document| {
                *document.pointer_mut(pointer).expect(pointer) = 99.into();
                document["program"] = "brownout 9.0.0".into();
                // In another version this may be anything.
                document["runs"][0]["seed"] = json!({});
            });
            let field = pointer.trim_start_matches('/').replace("/0/", "[0].");
            assert!(
                said.starts_with(&format!("{field}: version 99; this program reads 1")),
                "{said}"
            );
            assert!(said.contains("change: use brownout 9.0.0"), "{said}");
        }
    }

    #[test]
    fn what_is_of_another_type_is_named() {
        let said = refused(|document| document["runs"][0]["seed"] = "x".into());
        assert!(
            said.starts_with("runs[0].seed: invalid type: string"),
            "{said}"
        );
        let said = refused(|document| document["result"] = "well".into());
        assert!(said.starts_with("result: unknown variant `well`"), "{said}");
        for text in [&b""[..], b"[]", b"\0\0", b"{} {}", b"\xff"] {
            let said = read(text).expect_err("no report").to_string();
            assert!(
                said.contains("; change: expected the report.json"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_pass_of_an_older_program_hides_no_error() {
        let suite = changed(|document| {
            document["result"] = "pass".into();
            document["runs"][0]["result"] = "error".into();
            document["errors"] = json!([]);
        });
        assert_eq!(suite.expect("it is a report").result, Counts::Broken);
    }
}
