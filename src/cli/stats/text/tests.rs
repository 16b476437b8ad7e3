use super::*;
use serde_json::{Value, json};

fn latency(samples: u64, p50_us: u64) -> Value {
    json!({
        "samples": samples, "mean_us": p50_us, "p50_us": p50_us, "p95_us": p50_us * 3, "p99_us": p50_us * 5,
        "max_us": p50_us * 20,
        "enough_samples": { "p50": samples >= 5, "p95": samples >= 59, "p99": samples >= 299 },
    })
}

fn exchanges(count: u64, p50_us: u64) -> Value {
    json!({
        "count": count, "rate_per_second": count as f64 / 10.0, "errors": count / 50, "failures": 0,
        "by_status": { "ok": count - count / 50, "LOADING": count / 50 },
        "injected": count / 4, "outstanding": 2,
        "client": (count > 0).then(|| latency(count, p50_us)),
        "upstream": (count > 0).then(|| latency(count, p50_us / 2)),
        "first_byte": null, "request_bytes": 0, "reply_bytes": 0, "over_p95": 0, "over_p99": 0, "saturated": 0,
    })
}

fn operation(name: &str, class: &str, count: u64, p50_us: u64) -> Value {
    let mut operation = exchanges(count, p50_us);
    operation["operation"] = name.into();
    operation["class"] = class.into();
    operation
}

fn check(limit_us: u64, over: Option<u64>, samples: u64, met: Option<bool>) -> Value {
    json!({
        "limit_us": limit_us, "measured_us": (samples > 0).then_some(limit_us / 2), "over": over, "samples": samples,
        "enough_samples": met.is_some(), "met": met,
    })
}

/// A proxy on which nothing has happened.
fn quiet(name: &str) -> Value {
    json!({
        "name": name, "protocol": "redis", "covered_seconds": 9.98, "operations": [], "total": exchanges(0, 0),
        "sessions": {
            "opened": 0, "closed": 0, "open": 0, "busy": 0, "busy_peak": 0, "client_resets": 0, "upstream_resets": 0,
            "duration": null,
        },
        "connects": {
            "ok": 0, "refused": 0, "timeout": 0, "unreachable": 0, "resolve": 0, "exhausted": 0, "loop": 0, "other": 0,
            "latency": null,
        },
        "bytes": { "up": 0, "down": 0 }, "tap_lost": {}, "pushes": 0, "published": 0, "delivery": null,
        "transactions": {
            "begun": 0, "committed": 0, "rolled_back": 0, "failed": 0, "deadlocks": 0, "serialization_failures": 0,
            "duration": null, "idle": null,
        },
        "pool": { "max": null, "busy_mean": 0.0, "use_mean": null, "use_peak": null },
        "faults": { "injected": 0, "skipped": 0 }, "slo": { "mean": null, "p95": null, "p99": null },
        "cancels": 0, "part_errors": 0, "held_limit": 0,
    })
}

/// A proxy on which everything has happened.
fn busy() -> Value {
    let mut proxy = quiet("cache");
    proxy["operations"] = json!([
        operation("GET", "read", 1_234_567, 180),
        operation("PING", "ping", 12, 90),
        operation("SET", "write", 250, 1_250),
        operation("XREAD", "blocking", 0, 0),
        operation("config|get", "admin", 3, 43_000),
    ]);
    proxy["total"] = exchanges(1_234_820, 181);
    proxy["sessions"]["open"] = 12.into();
    proxy["sessions"]["client_resets"] = 2.into();
    proxy["connects"]["ok"] = 48.into();
    proxy["connects"]["latency"] = latency(48, 70);
    proxy["connects"]["refused"] = 3.into();
    proxy["bytes"] = json!({ "up": 1_234, "down": 56_700_000 });
    proxy["tap_lost"] = json!({ "malformed": 2 });
    proxy["pushes"] = 40.into();
    proxy["published"] = 20.into();
    proxy["delivery"] = latency(40, 300);
    proxy["transactions"]["begun"] = 10.into();
    proxy["transactions"]["committed"] = 9.into();
    proxy["transactions"]["deadlocks"] = 1.into();
    proxy["transactions"]["duration"] = latency(10, 2_000);
    proxy["pool"] = json!({ "max": 50, "busy_mean": 2.125, "use_mean": 0.0425, "use_peak": 0.24 });
    proxy["faults"] = json!({ "injected": 308_705, "skipped": 4,
        "skipped_by_reason": { "subscribed": 1, "not a statement": 3 } });
    proxy["slo"]["mean"] = check(5_000, None, 1_234_820, Some(true));
    proxy["slo"]["p95"] = check(10_000, Some(99_999), 1_234_820, Some(false));
    proxy["slo"]["p99"] = check(20_000, Some(1), 40, None);
    proxy
}

fn rendered(proxies: &[Value], window: Option<f64>, columns: Option<u16>) -> String {
    let stats = json!({ "window_seconds": window, "proxies": proxies });
    let stats: Stats = serde_json::from_value(stats).unwrap();
    let screen = Screen {
        columns,
        lines: None,
    };
    render(&stats, screen)
}

#[test]
fn everything_has_its_place() {
    insta::assert_snapshot!(rendered(&[busy(), quiet("idle")], Some(10.0), None));
}

#[test]
fn a_terminal_of_80_columns_is_enough() {
    let text = rendered(&[busy()], None, Some(80));
    let table = text.lines().skip_while(|line| !line.contains("operation"));
    let table: Vec<&str> = table.collect();
    assert!(
        table.iter().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn what_was_not_measured_is_not_zero() {
    let mut proxy = quiet("cache");
    proxy["operations"] = json!([operation("GET", "read", 0, 0)]);
    let text = rendered(&[proxy], None, None);
    let row = text.lines().last().unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        cells,
        ["GET", "0", "0", "0", "-", "-", "-", "-", "-", "0", "2"]
    );
}
