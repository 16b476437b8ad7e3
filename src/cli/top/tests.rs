use super::super::app::{App, Ask, Profile, Snapshot, Then};
use super::*;
use crate::measure::stats::{
    ByteStats, ConnectStats, FaultStats, PoolStats, ProxyStats, SessionStats, SloStats, Stats,
    TransactionStats,
};
use crate::protocol::Protocol;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn app(faults: &[&str]) -> App {
    let spec =
        |name: &str| json!({ "name": name, "proxy": "redis", "action": "latency", "delay": "5ms" });
    let listed = |name: &&str| {
        serde_json::from_value(json!({
            "name": name, "profile": "redis-slow", "in_force": true, "age_ms": 1_000, "left_ms": 61_500,
            "matched": 9, "injected": 7, "skipped": 0, "fault": spec(name),
        }))
        .expect("a fault")
    };
    let profiles = ["redis-down", "redis-slow"].map(|name| Profile {
        name: name.into(),
        description: "What it does".into(),
    });
    let mut app = App::new("127.0.0.1:8474".into());
    app.looked(Snapshot {
        stats: Stats::default(),
        halted: false,
        faults: faults.iter().map(listed).collect(),
        profiles: Some(profiles.into()),
    });
    app
}

/// The lines of a terminal of 80 by 24.
fn lines(app: &App) -> Vec<String> {
    lines_of(80, 24, app)
}

fn lines_of(columns: u16, rows: u16, app: &App) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(frame, app)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer
        .content()
        .iter()
        .map(ratatui::buffer::Cell::symbol)
        .collect();
    cells
        .chunks(usize::from(columns))
        .map(|line| line.concat().trim_end().to_owned())
        .collect()
}

fn press(app: &mut App, code: KeyCode) -> Then {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn faults_are_shown_with_the_time_that_is_left() {
    insta::assert_snapshot!(lines(&app(&["redis-slow"])).join("\n"));
}

#[test]
fn where_there_is_room_the_proxy_of_a_fault_is_shown() {
    let wide = lines_of(120, 40, &app(&["redis-slow"])).join("\n");
    let fault = wide.lines().find(|l| l.starts_with("redis-slow"));
    let words: Vec<&str> = fault.unwrap_or_default().split_whitespace().collect();
    let wanted = ["redis-slow", "redis-slow", "latency", "redis", "7", "1m02s"];
    assert_eq!(words, wanted, "{wide}");
}

#[test]
fn what_a_profile_does_can_be_read_to_its_end() {
    let mut app = app(&[]);
    let long = "Most replies wait a quarter of a second, and one in a hundred waits for all of five, as behind a disk that is full";
    app.looked(Snapshot {
        stats: Stats::default(),
        halted: false,
        faults: Vec::new(),
        profiles: Some(vec![Profile {
            name: "slow".into(),
            description: long.into(),
        }]),
    });
    press(&mut app, KeyCode::Char('p'));
    let shown = lines(&app).join(" ");
    assert!(shown.contains("a disk that is full"), "{shown}");
}

#[test]
fn profiles_are_shown_with_what_is_on() {
    let mut app = app(&["redis-slow"]);
    press(&mut app, KeyCode::Char('p'));
    insta::assert_snapshot!(lines(&app).join("\n"));
}

#[test]
fn a_lost_connection_is_said() {
    let mut app = app(&[]);
    app.lost(&crate::admin::client::ClientError::Timeout("x:1".into()));
    let text = lines(&app).join("\n");
    assert!(
        text.contains("OLD FIGURES") && text.contains("connection lost, trying again"),
        "{text}"
    );
}

#[test]
fn keys_ask_for_what_they_say() {
    let mut app = app(&["one", "two"]);
    assert_eq!(press(&mut app, KeyCode::Char('h')), Then::Ask(Ask::Halt));
    assert_eq!(press(&mut app, KeyCode::Char('r')), Then::Ask(Ask::Resume));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Down);
    assert_eq!(
        press(&mut app, KeyCode::Char('d')),
        Then::Ask(Ask::Remove("two".into()))
    );
    press(&mut app, KeyCode::Char('p'));
    press(&mut app, KeyCode::Char('t'));
    let ask = Ask::Enable("redis-down".into(), Duration::from_secs(15 * 60));
    assert_eq!(press(&mut app, KeyCode::Enter), Then::Ask(ask));
    press(&mut app, KeyCode::Down);
    assert_eq!(
        press(&mut app, KeyCode::Enter),
        Then::Ask(Ask::Disable("redis-slow".into()))
    );
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(interrupt), Then::Quit(130));
}

#[test]
fn what_is_typed_into_a_filter_is_no_command() {
    let mut app = app(&[]);
    press(&mut app, KeyCode::Char('p'));
    press(&mut app, KeyCode::Char('/'));
    for c in "hrqd".chars() {
        assert_eq!(press(&mut app, KeyCode::Char(c)), Then::Nothing);
    }
    assert!(app.shown().is_empty());
    press(&mut app, KeyCode::Enter);
    assert_eq!(press(&mut app, KeyCode::Enter), Then::Nothing);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Then::Quit(0));
}

/// One proxy, with figures of many digits.
fn busy() -> App {
    let total = ExchangeStats {
        count: 12_345,
        rate_per_second: 1_234.5,
        errors: 123,
        injected: 4_567,
        outstanding: 42,
        client: Latency::of((1..=20_000).map(|n| n * 10_000)),
        ..ExchangeStats::default()
    };
    let proxy = ProxyStats {
        name: "redis".into(),
        protocol: Protocol::Redis,
        covered_seconds: 10.0,
        operations: Vec::new(),
        total,
        sessions: SessionStats::default(),
        connects: ConnectStats::default(),
        bytes: ByteStats::default(),
        tap_lost: BTreeMap::new(),
        pushes: 0,
        published: 0,
        delivery: None,
        transactions: TransactionStats::default(),
        pool: PoolStats::default(),
        faults: FaultStats::default(),
        slo: SloStats::default(),
        cancels: 0,
        part_errors: 0,
        held_limit: 0,
    };
    let mut app = app(&["redis-slow"]);
    app.stats.proxies = vec![proxy];
    app
}

#[test]
fn where_it_is_narrow_whole_columns_are_left_out_and_no_figure_is_cut() {
    let wide = lines_of(120, 24, &busy());
    let row = |lines: &[String]| -> Vec<String> {
        let row = lines
            .iter()
            .find(|l| l.starts_with("redis ("))
            .expect("a row");
        let cells = row.split_whitespace();
        cells.skip(3).map(str::to_owned).collect()
    };
    let (header, all) = (header_of(&wide), row(&wide));
    assert_eq!(all.len(), 9, "{wide:#?}");
    for columns in 20..80 {
        let lines = lines_of(columns, 24, &busy());
        let (names, figures) = (header_of(&lines), row(&lines));
        assert_eq!(names.len(), figures.len(), "{lines:#?}");
        for (name, figure) in names.iter().zip(&figures) {
            let at = header
                .iter()
                .position(|n| n == name)
                .expect("the same name");
            assert_eq!(*figure, all[at], "{name} at {columns}: {lines:#?}");
        }
        assert!(
            columns < 26 || names.contains(&"p95".to_owned()),
            "{lines:#?}"
        );
        let told = lines.iter().any(|line| line.contains("no room for"));
        assert_eq!(told, names.len() < header.len(), "{columns}: {lines:#?}");
    }
    assert!(!lines(&busy()).join("").contains("no room"));
}

/// The names of the columns of figures.
fn header_of(lines: &[String]) -> Vec<String> {
    let header = lines
        .iter()
        .find(|l| l.starts_with("Operation"))
        .expect("a header");
    header
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect()
}
