//! The figures of proxies as text.

use super::figure::{bytes, count, micros, percent, rate, time};
use crate::cli::table::{Align, Screen, render as table};
use crate::measure::stats::{
    ConnectStats, ExchangeStats, Latency, OperationStats, ProxyStats, SessionStats, SloCheck,
    Stats, TransactionStats, needed,
};
use std::fmt::Write;
use std::time::Duration;

/// A terminal with fewer columns gets short headings and counts.
const WIDE: u16 = 110;

/// All proxies, one after the other.
pub(super) fn render(stats: &Stats, screen: Screen) -> String {
    let proxies = stats.proxies.iter();
    let texts: Vec<String> = proxies
        .map(|proxy| {
            heading(proxy, stats.window_seconds) + &lines(proxy) + &table_of(proxy, screen)
        })
        .collect();
    texts.join("\n")
}

/// `redis (redis), the last 10s`
fn heading(proxy: &ProxyStats, window: Option<f64>) -> String {
    let (name, protocol) = (&proxy.name, proxy.protocol.name());
    let since = if window.is_some() {
        "the last"
    } else {
        "since start,"
    };
    // To a tenth of a second: more says nothing here.
    let tenths = (proxy.covered_seconds * 10.0).round() as u64;
    let covered = humantime::format_duration(Duration::from_millis(tenths * 100));
    format!("{name} ({protocol}), {since} {covered}\n")
}

/// What there is to say of a proxy as a whole, a line each.
fn lines(proxy: &ProxyStats) -> String {
    let mut text = String::new();
    let mut line = |name: &str, said: String| {
        if !said.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<12} {said}");
        }
    };
    line("sessions", sessions(&proxy.sessions));
    line("connects", connects(&proxy.connects));
    line("pool", pool(proxy));
    line("transactions", transactions(&proxy.transactions));
    line("delivery", delivery(proxy));
    line(
        "bytes",
        format!(
            "{} up, {} down",
            bytes(proxy.bytes.up),
            bytes(proxy.bytes.down)
        ),
    );
    line("status", statuses(&proxy.total));
    line("faults", faults(proxy));
    let lost = proxy.tap_lost.iter().map(|(why, n)| format!("{n} {why}"));
    line("tap lost", joined(lost));
    for (name, check, needed) in [
        ("slo mean", proxy.slo.mean, needed::P50),
        ("slo p95", proxy.slo.p95, needed::P95),
        ("slo p99", proxy.slo.p99, needed::P99),
    ] {
        line(name, check.map(|c| slo(&c, needed)).unwrap_or_default());
    }
    text
}

fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(", ")
}

/// `3 refused`, for what happened at all.
fn some<'n>(counts: impl IntoIterator<Item = (u64, &'n str)>) -> impl Iterator<Item = String> {
    let happened = counts.into_iter().filter(|(n, _)| *n > 0);
    happened.map(|(n, what)| format!("{n} {what}"))
}

fn sessions(of: &SessionStats) -> String {
    let always = format!(
        "{} open, {} busy (peak {}), {} opened, {} closed",
        of.open, of.busy, of.busy_peak, of.opened, of.closed
    );
    let resets = some([
        (of.client_resets, "reset by the client"),
        (of.upstream_resets, "reset by the upstream"),
    ]);
    joined(std::iter::once(always).chain(resets))
}

fn connects(of: &ConnectStats) -> String {
    let made = format!("{} made", of.ok);
    let time = of.latency.map(|l| format!("p95 {}", p95(&l)));
    let failed = some([
        (of.refused, "refused"),
        (of.timeout, "timed out"),
        (of.unreachable, "unreachable"),
        (of.resolve, "not resolved"),
        (of.exhausted, "without a descriptor or port"),
        (of.looped, "to a listener of our own"),
        (of.other, "failed otherwise"),
    ]);
    joined(std::iter::once(made).chain(time).chain(failed))
}

fn pool(proxy: &ProxyStats) -> String {
    let (Some(mean), Some(peak)) = (proxy.pool.use_mean, proxy.pool.use_peak) else {
        return String::new();
    };
    // Levels are known from the first full second on.
    if proxy.covered_seconds == 0.0 {
        return String::new();
    }
    let of = match proxy.pool.max {
        Some(max) => format!("of {max} declared"),
        None => "of the sessions open".to_owned(),
    };
    format!(
        "{} busy on average: {} {of}, peak {}",
        rate(proxy.pool.busy_mean),
        percent(mean),
        percent(peak)
    )
}

fn transactions(of: &TransactionStats) -> String {
    if of.begun == 0 && of.duration.is_none() {
        return String::new();
    }
    let always = format!(
        "{} begun, {} committed, {} rolled back",
        of.begun, of.committed, of.rolled_back
    );
    let times = [("p95", of.duration), ("idle p95", of.idle)];
    let times = times.into_iter().filter_map(|(name, latency)| {
        let latency = latency?;
        Some(format!("{name} {}", p95(&latency)))
    });
    let bad = some([
        (of.failed, "failed"),
        (of.deadlocks, "deadlocks"),
        (of.serialization_failures, "serialization failures"),
    ]);
    joined(std::iter::once(always).chain(times).chain(bad))
}

fn delivery(proxy: &ProxyStats) -> String {
    if proxy.published == 0 && proxy.pushes == 0 {
        return String::new();
    }
    let always = format!("{} published, {} pushed", proxy.published, proxy.pushes);
    let time = proxy.delivery.map(|l| format!("p95 {}", p95(&l)));
    joined(std::iter::once(always).chain(time))
}

/// Statuses but `ok`, the most frequent first.
fn statuses(total: &ExchangeStats) -> String {
    let mut other: Vec<_> = total.by_status.iter().collect();
    other.retain(|(name, n)| *name != "ok" && **n > 0);
    other.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    joined(other.into_iter().map(|(name, n)| format!("{n} {name}")))
}

fn faults(proxy: &ProxyStats) -> String {
    let reasons = proxy.faults.skipped_by_reason.iter();
    let reasons = joined(reasons.map(|(why, n)| format!("{n} {why}")));
    let skipped = match &*reasons {
        "" => "matched and could not be touched in their state".to_owned(),
        _ => format!("matched and could not be touched in their state ({reasons})"),
    };
    joined(some([
        (proxy.faults.injected, "exchanges touched"),
        (proxy.faults.skipped, &skipped),
        (proxy.held_limit, "times as many bytes held as may be"),
    ]))
}

/// `met: 1.20ms of at most 5.00ms`
fn slo(check: &SloCheck, needed: u64) -> String {
    let limit = time(check.limit_us);
    let measured = check.measured_us.map_or_else(|| "-".to_owned(), time);
    let over = check
        .over
        .map(|n| format!(", {n} of {} over it", check.samples));
    let over = over.unwrap_or_default();
    match check.met {
        Some(true) => format!("met: {measured}, the limit is {limit}{over}"),
        Some(false) => format!("NOT met: {measured}, the limit is {limit}{over}"),
        None => format!(
            "too few samples: {} of {needed} needed; the limit is {limit}",
            check.samples
        ),
    }
}

fn p95(latency: &Latency) -> String {
    marked(latency.p95_us, latency.enough_samples.p95)
}

/// A percentile; `~`: on too few samples.
fn marked(us: u64, enough: bool) -> String {
    format!("{}{}", if enough { "" } else { "~" }, micros(us))
}

/// The operations: work and its total, then what is no work.
fn table_of(proxy: &ProxyStats, screen: Screen) -> String {
    if proxy.operations.is_empty() {
        return "  no exchanges\n".to_owned();
    }
    let narrow = screen.columns.is_some_and(|columns| columns < WIDE);
    let [upstream, errors, injected, outstanding] = if narrow {
        ["up p95", "err", "inj", "out"]
    } else {
        ["upstream p95", "errors", "injected", "outstanding"]
    };
    let columns = [
        ("  operation", Align::Left),
        ("count", Align::Right),
        ("/s", Align::Right),
        (errors, Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("max", Align::Right),
        (upstream, Align::Right),
        (injected, Align::Right),
        (outstanding, Align::Right),
    ];
    let mut sorted: Vec<&OperationStats> = proxy.operations.iter().collect();
    sorted.sort_by_key(|o| std::cmp::Reverse(o.exchanges.count));
    let (work, other): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|o| o.class.is_work());
    let covered = proxy.covered_seconds;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for of in &work {
        rows.push(row(&of.operation, &of.exchanges, covered, narrow));
    }
    if work.len() != 1 {
        rows.push(row("total", &proxy.total, covered, narrow));
    }
    for of in other {
        let name = format!("{} ({})", of.operation, of.class.name());
        rows.push(row(&name, &of.exchanges, covered, narrow));
    }
    table(screen, &columns, 0, rows)
}

fn row(name: &str, of: &ExchangeStats, covered: f64, narrow: bool) -> Vec<String> {
    let number = |n: u64| if narrow { count(n) } else { n.to_string() };
    let none = || "-".to_owned();
    let client = |figure: &dyn Fn(&Latency) -> String| of.client.as_ref().map_or_else(none, figure);
    vec![
        format!("  {name}"),
        number(of.count),
        if covered > 0.0 {
            rate(of.rate_per_second)
        } else {
            none()
        },
        number(of.errors),
        client(&|l| marked(l.p50_us, l.enough_samples.p50)),
        client(&p95),
        client(&|l| marked(l.p99_us, l.enough_samples.p99)),
        client(&|l| micros(l.max_us)),
        of.upstream.as_ref().map_or_else(none, p95),
        number(of.injected),
        number(of.outstanding),
    ]
}

#[cfg(test)]
mod tests;
