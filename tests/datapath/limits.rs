//! At the limit of descriptors: the rest goes on, and accepting comes back by itself.

use crate::peers::{LIMIT, Serving, ping};
use crate::support::{Brownout, cpu_time, eventually};
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

/// Two limits side by side: their parity decides whether an accept or a connect finds nothing left.
#[test]
fn at_the_limit_of_descriptors_the_rest_goes_on() {
    let echo = Serving::echo();
    for descriptors in [72, 73, 200, 201] {
        let brownout = start(descriptors, echo.address);
        let proxy = brownout.proxy("p");
        let mut served = Vec::new();
        // Connections that are not served wait in the kernel's queue, or are reset.
        let mut waiting = Vec::new();
        while waiting.len() < 20 {
            match attempt(proxy, Duration::from_millis(150)) {
                Some(client) => served.push(client),
                None => waiting.push(TcpStream::connect(proxy)),
            }
            assert!(served.len() < descriptors as usize / 2, "more than can be");
        }
        assert!(
            served.len() >= descriptors as usize / 4,
            "{} of {descriptors}",
            served.len()
        );

        let before = cpu_time(brownout.id());
        std::thread::sleep(Duration::from_millis(500));
        let burnt = cpu_time(brownout.id()).saturating_sub(before);
        assert!(
            burnt < Duration::from_millis(75),
            "{burnt:?} in half a second at {descriptors}"
        );
        assert_eq!(brownout.get("/healthz").status, 200);
        assert!(
            brownout
                .get("/metrics")
                .body
                .contains("brownout_accept_exhausted_total")
        );
        for client in &served {
            ping(client).expect("what is served stays served");
        }

        drop((served, waiting));
        let released = Instant::now();
        eventually("a newcomer to be served", LIMIT, || {
            attempt(proxy, Duration::from_millis(50))
        });
        let took = released.elapsed();
        assert!(
            took < Duration::from_millis(400),
            "{took:?} at {descriptors}"
        );
    }
}
