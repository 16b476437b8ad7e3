//! `brownout ledger`: what became of the exchanges that faults touched.

use super::remote::{Output, Remote, block_on, write_json, write_text};
use super::say;
use super::table::{Align, Screen, render};
use crate::measure::ledger::{Entry, Query, Retry, Told};

/// Show what became of the exchanges that faults touched.
///
/// One line for each exchange: the faults and what they did, what the server saw of it (nothing, the request, or it completed it,
/// then with its own tag: COMMIT, INSERT 0 1, the type of a Redis reply, the status of HTTP), what the client was told (the reply, an
/// injected one, nothing, or part of one), and whether the same client asked the same again. `?`: not known, or not yet.
///
/// A client is the same on the same session, or on a later one from the same address that calls itself the same
/// (CLIENT SETNAME, application_name). A retry is known again for a minute, and
/// while a fault is on for its proxy.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout ledger                                the newest exchanges that faults touched
  brownout ledger --proxy postgres --fault lost-commit-ack
  brownout ledger --duplicates                   done by the server, untold, and done again
  brownout ledger --canonical > first.json       what is the same in every run with this seed
  brownout ledger --output json | jq '.entries[] | select(.server == \"completed\")'

Exit codes: 0; 2: wrong usage; 4: no brownout could be reached.")]
pub struct Args {
    /// Only of this proxy.
    #[arg(long, value_name = "NAME")]
    pub proxy: Option<String>,
    /// Only what this fault touched.
    #[arg(long, value_name = "NAME")]
    pub fault: Option<String>,
    /// Only of this operation, like COMMIT.
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// Only what the server completed, the client was not told, and the server then completed again.
    #[arg(long)]
    pub duplicates: bool,
    /// Only entries after the one of this number.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub since: u64,
    /// At most so many, the newest. [default: all that are kept]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Only what seed, profile and order of requests determine, in JSON: equal byte for byte in every run that has them in common.
    #[arg(long, conflicts_with_all = ["duplicates", "since", "limit"])]
    pub canonical: bool,
    /// The running brownout, and how results are written.
    #[command(flatten)]
    pub remote: Remote,
}

/// Shows the ledger. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    block_on(async {
        let client = args.remote.client()?;
        let mut query = Query {
            proxy: args.proxy.clone(),
            fault: args.fault.clone(),
            operation: args.operation.clone(),
            duplicates: args.duplicates,
            since: args.since,
            limit: Some(PAGE),
        };
        if args.canonical {
            query.limit = None;
            return write_json(&client.canonical_ledger(&query).await?);
        }
        let mut listing = client.ledger(&query).await?;
        let mut entries = std::mem::take(&mut listing.entries);
        while listing.more {
            query.since = listing.next;
            listing = client.ledger(&query).await?;
            entries.append(&mut listing.entries);
        }
        listing.entries = newest(entries, args.limit);
        if args.remote.output == Output::Json {
            return write_json(&listing);
        }
        if listing.overflowed {
            let (kept, dropped) = (listing.capacity, listing.dropped);
            say(&format!(
                "{dropped} older entries went: the ledger keeps {kept} (`ledger` in brownout.toml)"
            ));
        }
        write_text(&table(&listing.entries, Screen::of_stdout()))
    })
}

/// Entries that are asked for at once.
const PAGE: usize = 10_000;

/// The newest of them, at most so many, by proxy, session and exchange.
fn newest(mut entries: Vec<Entry>, limit: Option<u32>) -> Vec<Entry> {
    if let Some(limit) = limit {
        entries.sort_by_key(|e| e.id);
        entries.drain(..entries.len().saturating_sub(limit as usize));
    }
    entries.sort_by(|a, b| {
        (&a.proxy, a.session, a.exchange, a.id).cmp(&(&b.proxy, b.session, b.exchange, b.id))
    });
    entries
}

fn table(entries: &[Entry], screen: Screen) -> String {
    let columns = [
        ("id", Align::Right),
        ("proxy", Align::Left),
        ("session", Align::Right),
        ("exchange", Align::Right),
        ("operation", Align::Left),
        ("faults", Align::Left),
        ("server", Align::Left),
        ("client was told", Align::Left),
        ("status", Align::Left),
        ("asked again", Align::Left),
    ];
    render(screen, &columns, 5, entries.iter().map(row).collect())
}

fn row(entry: &Entry) -> Vec<String> {
    let server = entry
        .server
        .map(|saw| tagged(saw.name(), entry.tag.as_deref()));
    let told = entry.told.map(|told| match told {
        Told::Partial => format!("partial, {} bytes", entry.told_bytes),
        told => told.name().to_owned(),
    });
    let unknown = || "?".to_owned();
    vec![
        entry.id.to_string(),
        entry.proxy.to_string(),
        entry.session.to_string(),
        entry.exchange.to_string(),
        entry.operation.to_string(),
        faults(entry),
        server.unwrap_or_else(unknown),
        told.unwrap_or_else(unknown),
        entry.status.as_deref().map_or_else(unknown, str::to_owned),
        entry.retry.as_ref().map_or_else(|| "no".to_owned(), again),
    ]
}

fn tagged(saw: &str, tag: Option<&str>) -> String {
    tag.map_or_else(|| saw.to_owned(), |tag| format!("{saw}: {tag}"))
}

/// The faults with their actions, the delays that they drew, and what was not done.
fn faults(entry: &Entry) -> String {
    let mut parts: Vec<String> = entry
        .faults
        .iter()
        .map(|f| match &f.skipped {
            Some(reason) => format!("{} ({}) skipped: {reason}", f.name, f.action),
            None => format!("{} ({})", f.name, f.action),
        })
        .collect();
    for (what, us) in [
        ("request", entry.request_delay_us),
        ("reply", entry.reply_delay_us),
        ("at least", entry.reply_floor_us),
    ] {
        if us > 0 {
            parts.push(format!("{what} {:.3} ms", us as f64 / 1000.0));
        }
    }
    parts.join(", ")
}

/// Where it was asked again, and what came of that.
fn again(retry: &Retry) -> String {
    let (session, exchange) = (retry.session, retry.exchange);
    let server = retry
        .server
        .map(|saw| tagged(saw.name(), retry.tag.as_deref()));
    let server = server.unwrap_or_else(|| "?".to_owned());
    format!("{session}/{exchange} {server}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, session: u64) -> Entry {
        let text = format!(
            r#"{{"id":{id},"time_us":1,"proxy":"redis","session":{session},"exchange":2,"operation":"INCR","class":"write",
            "faults":[{{"name":"lost","action":"lose_reply"}}],"request_delay_us":0,"reply_delay_us":1500,"reply_floor_us":0,
            "server":"completed","tag":"integer","told":"nothing","told_bytes":0,"status":"closed","open":false,
            "retry":{{"session":4,"exchange":1,"after_us":9,"server":"completed","tag":"integer","status":"ok"}},"fingerprint":null}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_line_tells_both_sides_and_what_came_after() {
        let text = table(&[entry(7, 3)], Screen::NONE);
        let line = text.lines().nth(1).unwrap();
        for part in [
            "lost (lose_reply), reply 1.500 ms",
            "completed: integer",
            "nothing",
            "closed",
            "4/1 completed: integer",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let mut unknown = entry(7, 3);
        unknown.server = None;
        unknown.told = Some(Told::Partial);
        unknown.told_bytes = 12;
        unknown.retry = None;
        unknown.faults[0].skipped = Some("no reply is expected".into());
        let text = table(&[unknown], Screen::NONE);
        for part in [
            " ? ",
            "partial, 12 bytes",
            "skipped: no reply is expected",
            "no\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_newest_are_shown_by_place() {
        let entries = vec![entry(1, 9), entry(2, 5), entry(3, 4)];
        let ids = |limit| {
            let shown = newest(entries.clone(), limit);
            shown.iter().map(|e| e.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(Some(2)), [3, 2]);
        assert_eq!(ids(None), [3, 2, 1]);
        assert_eq!(ids(Some(9)), [3, 2, 1]);
    }
}
