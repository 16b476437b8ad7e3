//! At the limit of descriptors: the rest goes on, and accepting comes back by itself.
#![cfg(target_os = "linux")]

use crate::peers::{LIMIT, Serving, ping};
use crate::support::{Brownout, cpu_time, eventually, open_descriptors};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

fn start(descriptors: u32, upstream: SocketAddr) -> Brownout {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={descriptors}:{descriptors}"));
    command.arg(env!("CARGO_BIN_EXE_brownout"));
    Brownout::start_with(
        command,
        &["--workers", "2", "--tcp", &format!("p@0={upstream}")],
    )
}

/// A connection, and whether it is served within a moment.
fn attempt(proxy: SocketAddr, patience: Duration) -> Option<TcpStream> {
    let client = TcpStream::connect_timeout(&proxy, LIMIT).ok()?;
    client.set_read_timeout(Some(patience)).unwrap();
    ping(&client).is_ok().then_some(client)
}

/// So much CPU is no busy loop.
fn assert_idle(brownout: &Brownout) {
    let before = cpu_time(brownout.id());
    std::thread::sleep(Duration::from_millis(500));
    let burnt = cpu_time(brownout.id()).saturating_sub(before);
    assert!(
        burnt < Duration::from_millis(75),
        "{burnt:?} in half a second"
    );
}

/// Whether newcomers are served again, soon.
fn assert_recovered(proxy: SocketAddr) {
    let released = Instant::now();
    eventually("a newcomer to be served", LIMIT, || {
        attempt(proxy, Duration::from_millis(50))
    });
    let took = released.elapsed();
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn no_more_sessions_than_fit_and_the_rest_goes_on() {
    let echo = Serving::echo();
    for descriptors in [72, 73, 200, 201] {
        let brownout = start(descriptors, echo.address);
        let proxy = brownout.proxy("p");
        let mut served = Vec::new();
        // Connections that are not served wait in the kernel's queue.
        let mut waiting = Vec::new();
        while waiting.len() < 10 {
            match attempt(proxy, Duration::from_millis(150)) {
                Some(client) => served.push(client),
                None => waiting.push(TcpStream::connect(proxy)),
            }
            assert!(served.len() < descriptors as usize / 2, "more than can be");
        }
        let count = served.len();
        assert!(
            count >= descriptors as usize / 6,
            "{count} of {descriptors}"
        );
        assert_idle(&brownout);
        assert_eq!(brownout.get("/healthz").status, 200);
        assert_eq!(brownout.get("/metrics").status, 200);
        assert!(brownout.stderr().contains("accepting pauses"));
        for client in &served {
            ping(client).expect("what is served stays served");
        }
        drop((served, waiting));
        assert_recovered(proxy);
    }
}

/// Something else in the process takes the descriptors: then accept(2) or, one descriptor later, socket(2) finds none left.
#[test]
fn running_out_of_descriptors_is_survived() {
    let echo = Serving::echo();
    for spare in [0, 1] {
        let brownout = start(1000, echo.address);
        let proxy = brownout.proxy("p");
        let served: Vec<_> = (0..10)
            .map(|_| attempt(proxy, LIMIT).expect("there is plenty"))
            .collect();
        let limit = open_descriptors(brownout.id()) + spare;
        let mut prlimit = Command::new("prlimit");
        let pid = format!("--pid={}", brownout.id());
        prlimit.args([pid, format!("--nofile={limit}:1000")]);
        assert!(prlimit.status().unwrap().success());

        let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(proxy)).collect();
        assert!(
            attempt(proxy, Duration::from_millis(200)).is_none(),
            "spare: {spare}"
        );
        assert_idle(&brownout);
        for client in &served {
            ping(client).expect("what is served stays served");
        }
        drop((served, waiting));
        assert_recovered(proxy);
        let figures = brownout.get("/metrics").body;
        let paused = !figures.contains("brownout_accept_exhausted_total 0\n");
        assert!(paused || spare > 0, "{figures}");
    }
}
