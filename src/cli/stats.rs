//! `brownout stats`: what a running `brownout` measures.

pub(in crate::cli) mod figure;
mod text;

use super::INTERRUPTED;
use super::remote::{Output, Remote, RemoteError, block_on, write_json, write_text};
use super::table::Screen;
use crate::config::duration;
use crate::config::suggest::nearest;
use crate::measure::stats::Stats;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often `--watch` shows new figures: windows end at full seconds.
const REFRESH: Duration = Duration::from_secs(1);
/// Windows that the endpoint keeps.
const WINDOWS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);
/// What `--watch` shows when no window is named: figures since start would hardly move.
const WATCHED: Duration = Duration::from_secs(10);
/// Moves the cursor home and clears from there (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show what a running brownout measures.
///
/// One table for each proxy, one line for each operation: how many exchanges ended and how many of them with an error, how
/// long they took for the client (with the time that faults injected) and for the upstream (without it), how many a fault
/// touched, and how many are under way. `total` is all of them but handshakes, pings and blocking commands, whose duration is
/// no latency; they stand below it, with their class. Above each table: sessions, connections to the upstream, the pool,
/// transactions, and whether the limits of the configuration (slo) are kept.
///
/// A percentile marked ~ rests on too few samples to be relied on: p95 needs 59, p99 needs 299. The verdict on a limit then
/// says how many there are.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout stats                      everything since start
  brownout stats redis --window 10s   one proxy, over the last ten seconds
  brownout stats --watch              again every second, until Ctrl-C
  brownout stats --output json | jq '.proxies[].total.client.p99_us'

Exit codes: 0; 2: wrong usage, no such proxy; 4: no brownout could be reached;
130: ended by Ctrl-C.")]
pub struct Args {
    /// Only these proxies.
    #[arg(value_name = "PROXY")]
    pub proxies: Vec<String>,
    /// The last 1s to 60s. [default: since start; with --watch: 10s]
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub window: Option<Duration>,
    /// Show them again every second.
    #[arg(long)]
    pub watch: bool,
    /// The running brownout, and how results are written. With --watch, JSON is one document a line.
    #[command(flatten)]
    pub remote: Remote,
}

fn window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(text)?;
    if WINDOWS.contains(&window) {
        Ok(window)
    } else {
        Err("a window is from 1s to 60s".to_owned())
    }
}

/// Shows the figures. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    block_on(async {
        if !args.watch {
            let stats = stats(args, args.window).await?;
            return match args.remote.output {
                Output::Json => write_json(&stats),
                Output::Text => write_text(&text::render(&stats, Screen::of_stdout())),
            };
        }
        tokio::select! {
            ended = watch(args) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Ok(INTERRUPTED)
            }
        }
    })
}

async fn watch(args: &Args) -> Result<u8, RemoteError> {
    let window = args.window.unwrap_or(WATCHED);
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let stats = stats(args, Some(window)).await?;
        if args.remote.output == Output::Json {
            write_text(&format!("{}\n", serde_json::to_string(&stats)?))?;
            continue;
        }
        let screen = Screen::of_stdout();
        let text = text::render(&stats, screen);
        if screen.is_terminal() {
            write_text(&format!("{CLEAR}{}", fitted(&text, screen.lines)))?;
        } else {
            write_text(&format!("{text}\n"))?;
        }
    }
}

/// As many lines as the terminal has, less one for the cursor, and how many are left out.
fn fitted(text: &str, lines: Option<u16>) -> String {
    let all = text.lines().count();
    let room = lines.map_or(usize::MAX, |lines| usize::from(lines).saturating_sub(1));
    if all <= room {
        return text.to_owned();
    }
    let shown = room.saturating_sub(1);
    let fitted: String = text.split_inclusive('\n').take(shown).collect();
    format!("{fitted}... {} more lines\n", all - shown)
}

async fn stats(args: &Args, window: Option<Duration>) -> Result<Stats, RemoteError> {
    let mut stats = args.remote.client()?.stats(window).await?;
    for wanted in &args.proxies {
        if stats.proxy(wanted).is_none() {
            let names = || stats.proxies.iter().map(|p| p.name.as_str());
            let remedy = match nearest(wanted, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            return Err(RemoteError::Usage(format!(
                "there is no proxy `{wanted}`; {remedy}"
            )));
        }
    }
    if !args.proxies.is_empty() {
        stats.proxies.retain(|p| args.proxies.contains(&p.name));
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_that_are_kept() {
        assert_eq!(window("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(window("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["0s", "999ms", "61s", "10", "ten"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_terminal_cannot_show_is_counted() {
        let text = "1\n2\n3\n4\n5\n";
        assert_eq!(fitted(text, Some(6)), text);
        assert_eq!(fitted(text, None), text);
        assert_eq!(fitted(text, Some(5)), "1\n2\n3\n... 2 more lines\n");
    }
}
