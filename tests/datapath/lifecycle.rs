//! Signals, reloads and sudden ends of the whole process.

use crate::peers::{
    End, LIMIT, Serving, accept, dial, expect, expect_silence, fill, ping, read_to_end,
};
use crate::support::{Brownout, Directory, Process, eventually, free_port, request};
use rustix::process::Signal;
use serde_json::json;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A configuration with these proxies of plain TCP: name, port, upstream.
fn configuration(more: &str, proxies: &[(&str, u16, SocketAddr)]) -> String {
    let tables: Vec<_> = proxies
        .iter()
        .map(|(name, port, upstream)| {
            format!(
                "[[proxy]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:{port}\"\n\
                 upstream = \"{upstream}\"\n"
            )
        })
        .collect();
    format!("{more}\n{}", tables.concat())
}

fn start(file: &Path) -> Brownout {
    Brownout::start(&["--config", file.to_str().unwrap()])
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_drain_lets_what_runs_finish() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = upstream.local_addr().unwrap();
    let mut brownout = Brownout::start(&["--tcp", &format!("p@0={target}")]);
    let proxy = brownout.proxy("p");
    let (client, server) = (dial(proxy), accept(&upstream));
    // Later connections, which only ask whether the listener is still there, end at once.
    drop(upstream);
    let sent = fill(&server);
    brownout.process().signal(Signal::TERM);
    eventually("the listener to close", LIMIT, || {
        refused(proxy).then_some(())
    });
    assert!(
        brownout.process().ended().is_none(),
        "a transfer is under way"
    );
    server.shutdown(Shutdown::Write).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (got, end) = read_to_end(&client);
    assert_eq!((got.len(), end), (sent, End::Fin));
    assert!(brownout.process().wait(LIMIT).success());
}

#[test]
fn a_drain_flushes_what_a_fault_holds() {
    let echo = Serving::echo();
    let mut brownout = Brownout::start(&["--tcp", &format!("p@0={}", echo.address)]);
    let mut client = dial(brownout.proxy("p"));
    let fault = json!({ "action": "latency", "delay": "300ms", "on": "request" });
    assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
    client.write_all(b"held").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    brownout.process().signal(Signal::TERM);
    assert_eq!(read_to_end(&client), (b"held".into(), End::Fin));
    assert!(brownout.process().wait(LIMIT).success());
}

/// Time goes on while it drains: what a fault holds goes when the fault ends.
#[test]
fn a_fault_ends_during_a_drain_too() {
    let echo = Serving::echo();
    let mut brownout = Brownout::start(&["--tcp", &format!("p@0={}", echo.address)]);
    let proxy = brownout.proxy("p");
    let mut client = dial(proxy);
    let fault = json!({ "action": "stall", "ttl": "700ms" });
    assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
    client.write_all(b"held").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    brownout.process().signal(Signal::TERM);
    assert_eq!(read_to_end(&client), (b"held".into(), End::Fin));
    assert!(brownout.process().wait(LIMIT).success());
}

#[test]
fn a_drain_ends_at_its_deadline_and_a_second_signal_at_once() {
    let echo = Serving::echo();
    let directory = Directory::new("drain");
    for (deadline, signals) in [("500ms", 1), ("10m", 2)] {
        let port = free_port();
        let file = configuration(
            &format!("drain_deadline = \"{deadline}\""),
            &[("p", port, echo.address)],
        );
        let mut brownout = start(&directory.write("c.toml", &file));
        let client = dial(local(port));
        ping(&client).unwrap();
        let started = Instant::now();
        brownout.process().signal(Signal::TERM);
        eventually("the drain to begin", LIMIT, || {
            refused(local(port)).then_some(())
        });
        if signals == 2 {
            ping(&client).expect("sessions live on while it drains");
            brownout.process().signal(Signal::TERM);
        }
        read_to_end(&client);
        assert!(brownout.process().wait(LIMIT).success());
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(
            signals == 2 || took >= Duration::from_millis(500),
            "{took:?}"
        );
    }
}

/// Waits for a line on stderr after what was there before.
fn said(brownout: &mut Brownout, before: usize, words: &str) -> String {
    brownout.process().until(LIMIT, |stderr| {
        let new = stderr.get(before..)?;
        new.contains(words).then(|| new.to_owned())
    })
}

#[test]
fn a_reload_changes_what_changed_and_nothing_else() {
    let (first, second) = (Serving::echo(), Serving::echo());
    let (kept, moved, gone, new) = (free_port(), free_port(), free_port(), free_port());
    let directory = Directory::new("reload");
    let before = [
        ("kept", kept, first.address),
        ("moved", moved, first.address),
        ("gone", gone, first.address),
    ];
    let file = directory.write("c.toml", &configuration("", &before));
    let mut brownout = start(&file);
    // Made over the admin endpoint: no file has it, so none can take it away.
    let made = free_port();
    let proxy = json!({ "name": "made", "protocol": "tcp", "listen": made.to_string(), "upstream": first.address.to_string() });
    assert_eq!(brownout.post("/v1/proxies", &proxy).status, 201);
    let at_run_time = dial(local(made));
    ping(&at_run_time).unwrap();
    let sessions = [kept, moved, gone].map(|port| dial(local(port)));
    for session in &sessions {
        ping(session).unwrap();
    }

    let after = [
        ("kept", kept, first.address),
        ("moved", moved, second.address),
        ("new", new, second.address),
        // Another name on a port that was in use.
        ("renamed", gone, second.address),
    ];
    let said_before = brownout.stderr().len();
    directory.write("c.toml", &configuration("", &after));
    brownout.process().signal(Signal::HUP);
    let said = said(&mut brownout, said_before, "reloaded");
    assert!(!said.contains("not reloaded"), "{said}");
    ping(&sessions[0]).expect("the session of an unchanged proxy lives on");
    ping(&at_run_time).expect("and so does that of one made at run time");
    read_to_end(&sessions[1]);
    read_to_end(&sessions[2]);
    for port in [kept, moved, gone, new] {
        ping(&dial(local(port))).unwrap_or_else(|e| panic!("port {port}: {e}"));
    }
    let proxies = brownout.get("/v1/proxies").json();
    let names: Vec<_> = proxies["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].clone())
        .collect();
    assert_eq!(names, ["kept", "made", "moved", "new", "renamed"]);
}

#[test]
fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
    let echo = Serving::echo();
    let (port, other) = (free_port(), free_port());
    let directory = Directory::new("watch");
    let good = configuration("", &[("p", port, echo.address)]);
    let file = directory.write("c.toml", &good);
    let mut brownout = start(&file);
    let session = dial(local(port));
    ping(&session).unwrap();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = taken.local_addr().unwrap().port();
    let broken = [
        (good.replace("upstream", "upstreem"), "upstreem"),
        (good[..good.len() / 2].to_owned(), "c.toml"),
        (String::new(), "says nothing"),
        (
            configuration(
                "",
                &[("p", port, echo.address), ("q", in_use, echo.address)],
            ),
            "in use",
        ),
    ];
    for (text, complaint) in broken {
        let before = brownout.stderr().len();
        // In place and by rename: both ways in which files are written.
        let fresh = directory.write("fresh.toml", &text);
        std::fs::rename(fresh, &file).unwrap();
        brownout.process().signal(Signal::HUP);
        let said = said(&mut brownout, before, "not reloaded");
        assert!(said.contains(complaint), "{complaint:?} is not in {said}");
        ping(&session).expect("the configuration in force stays");
        ping(&dial(local(port))).unwrap();
    }

    let before = brownout.stderr().len();
    let both = configuration("", &[("p", port, echo.address), ("q", other, echo.address)]);
    directory.write("c.toml", &both);
    let said = said(&mut brownout, before, "reloaded");
    assert!(!said.contains("not reloaded"), "{said}");
    eventually("the new proxy", LIMIT, || {
        TcpStream::connect(local(other)).ok()
    });
    ping(&session).unwrap();
}

#[test]
fn a_kill_leaves_no_fault_and_no_port_taken() {
    let echo = Serving::echo();
    let directory = Directory::new("kill");
    let port = free_port();
    let file = directory.write("c.toml", &configuration("", &[("p", port, echo.address)]));
    for _ in 0..3 {
        let mut brownout = start(&file);
        let mut client = dial(local(port));
        ping(&client).unwrap();
        assert_eq!(
            brownout
                .post("/v1/faults", &json!({ "action": "stall" }))
                .status,
            201
        );
        client.write_all(b"held for good").unwrap();
        expect_silence(&client, Duration::from_millis(30));
        brownout.process().signal(Signal::KILL);
        brownout.process().wait(LIMIT);
        assert!(read_to_end(&client).0.is_empty());
    }
    let brownout = start(&file);
    let faults = brownout.get("/v1/faults").json();
    assert_eq!(faults["faults"].as_array().unwrap().len(), 0);
    ping(&dial(local(port))).unwrap();
}

#[test]
fn sigusr1_halts_and_keeps_faults_off() {
    let echo = Serving::echo();
    let mut brownout = Brownout::start(&["--tcp", &format!("p@0={}", echo.address)]);
    let mut client = dial(brownout.proxy("p"));
    ping(&client).unwrap();
    let stall = json!({ "action": "stall" });
    assert_eq!(brownout.post("/v1/faults", &stall).status, 201);
    client.write_all(b"held").unwrap();
    expect_silence(&client, Duration::from_millis(50));
    brownout.process().signal(Signal::USR1);
    expect(&client, b"held");
    assert_eq!(
        brownout.post("/v1/faults", &stall).status,
        409,
        "until resumed"
    );
    assert_eq!(brownout.post("/v1/resume", &json!({})).status, 200);
    assert_eq!(brownout.post("/v1/faults", &stall).status, 201);
}

#[test]
fn closed_standard_streams_are_no_reason_to_end() {
    let echo = Serving::echo();
    let (port, admin) = (free_port(), free_port());
    let mut command = Command::new("sh");
    let script = "exec \"$0\" run --admin 127.0.0.1:$1 --tcp $2=$3 >&- 2>&-";
    command.args(["-c", script, env!("CARGO_BIN_EXE_brownout")]);
    command.args([
        admin.to_string(),
        port.to_string(),
        echo.address.to_string(),
    ]);
    let mut process = Process::start(&mut command, "sh is everywhere");
    eventually("the admin endpoint", LIMIT, || {
        request(local(admin), "GET", "/readyz", None)
            .ok()
            .filter(|reply| reply.status == 200)
    });
    ping(&dial(local(port))).unwrap();
    process.signal(Signal::USR1);
    process.signal(Signal::HUP);
    assert_eq!(
        request(local(admin), "GET", "/metrics", None)
            .unwrap()
            .status,
        200
    );
    ping(&dial(local(port))).unwrap();
    process.signal(Signal::TERM);
    assert!(process.wait(LIMIT).success());
}

#[test]
fn a_proxy_that_could_not_run_says_so() {
    let echo = Serving::echo();
    let mut brownout = Brownout::start(&["--tcp", &format!("echo@0={}", echo.address)]);
    let worst = |brownout: &Brownout| {
        let stats = brownout.get("/v1/stats").json();
        stats["worker_lag"]["max_us"].as_u64().unwrap_or(0)
    };
    assert_eq!(worst(&brownout), 0, "no session, no wait");
    let client = dial(brownout.proxy("echo"));
    ping(&client).unwrap();
    eventually("the first look", LIMIT, || {
        (worst(&brownout) > 0).then_some(())
    });

    // Whatever came in this time waited for the process, and no latency shows it.
    brownout.process().signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(500));
    brownout.process().signal(Signal::CONT);
    eventually("the wait", LIMIT, || {
        (worst(&brownout) >= 400_000).then_some(())
    });
    let metrics = brownout.get("/metrics").body;
    let lag = metrics
        .lines()
        .find_map(|line| line.strip_prefix("brownout_worker_lag_seconds "));
    assert!(lag.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
}
