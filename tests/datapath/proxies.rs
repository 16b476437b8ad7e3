//! Proxies that come, change, pause and go at run time.

use crate::harness::{Proxied, proxy};
use crate::peers::{LIMIT, Serving, dial, ping, read_to_end};
use crate::support::{eventually, open_descriptors, resident_bytes};
use brownout::config::{Listen, ProxyConfig};
use brownout::protocol::Protocol;
use brownout::proxy::ControlError;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;

fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn opened(proxied: &Proxied) -> u64 {
    proxied.figures().sessions.opened
}

#[test]
fn a_proxy_that_is_off_refuses_and_keeps_what_was_measured() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let address = proxied.address("p");
    let client = dial(address);
    ping(&client).unwrap();
    let off = proxied
        .block_on(proxied.server.enable_proxy("p", false))
        .unwrap();
    assert!(off.disabled && !off.enabled);
    read_to_end(&client);
    assert!(refused(address));
    assert_eq!(opened(&proxied), 1);
    // Off already: nothing changes, and that is no error.
    proxied
        .block_on(proxied.server.enable_proxy("p", false))
        .unwrap();
    let on = proxied
        .block_on(proxied.server.enable_proxy("p", true))
        .unwrap();
    assert!(on.enabled && !on.disabled);
    assert_eq!(proxied.address("p"), address, "the port stays");
    ping(&dial(address)).unwrap();
    assert_eq!(opened(&proxied), 2, "figures go on");
}

#[test]
fn a_change_of_limits_spares_sessions_and_one_of_the_upstream_ends_them() {
    let (first, second) = (Serving::echo(), Serving::echo());
    let proxied = Proxied::to(Protocol::Tcp, first.address);
    let address = proxied.address("p");
    let client = dial(address);
    ping(&client).unwrap();
    let change = |config: ProxyConfig| proxied.block_on(proxied.server.change_proxy("p", config));
    let pooled = ProxyConfig {
        pool: NonZeroU32::new(7),
        ..proxy("p", Protocol::Tcp, first.address)
    };
    assert_eq!(change(pooled).unwrap().config.pool, NonZeroU32::new(7));
    ping(&client).expect("port 0 is the port that it has; the session lives on");
    change(proxy("p", Protocol::Tcp, second.address)).unwrap();
    read_to_end(&client);
    assert_eq!(proxied.address("p"), address);
    ping(&dial(address)).unwrap();
    let renamed = proxy("other", Protocol::Tcp, second.address);
    assert!(matches!(change(renamed), Err(ControlError::Proxy(_))));
    // An address that is taken changes nothing.
    let taken = ProxyConfig {
        listen: Listen::Tcp(first.address),
        ..proxy("p", Protocol::Tcp, second.address)
    };
    assert!(matches!(change(taken), Err(ControlError::Start(_))));
    ping(&dial(address)).unwrap();
}

#[test]
fn what_cannot_stand_beside_the_others_is_refused() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let add = |config| proxied.block_on(proxied.server.add_proxy(config, true));
    let twin = proxy("p", Protocol::Tcp, echo.address);
    assert!(matches!(add(twin), Err(ControlError::ProxyExists(_))));
    let circle = proxy("q", Protocol::Tcp, proxied.address("p"));
    let Err(ControlError::Proxy(errors)) = add(circle) else {
        panic!("a circle of proxies");
    };
    assert_eq!(errors[0].path, "upstream");
    let off = proxied
        .block_on(
            proxied
                .server
                .add_proxy(proxy("q", Protocol::Tcp, echo.address), false),
        )
        .unwrap();
    assert!(off.disabled);
}

/// How many times proxies come and go; more by hand: `BROWNOUT_CHURN=10000`.
fn rounds() -> usize {
    let wanted = std::env::var("BROWNOUT_CHURN").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

#[test]
fn proxies_that_came_and_went_leave_nothing_behind() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let me = std::process::id();
    let round = |number: usize| {
        let name = format!("r{number}");
        let config = proxy(&name, Protocol::Redis, echo.address);
        proxied
            .block_on(proxied.server.add_proxy(config, true))
            .unwrap();
        if number.is_multiple_of(10) {
            ping(&dial(proxied.address(&name))).unwrap();
        }
        proxied
            .block_on(proxied.server.remove_proxy(&name))
            .unwrap();
    };
    // What is made once is made.
    (0..100).for_each(round);
    let memory = resident_bytes(me);
    let descriptors = open_descriptors(me);
    (100..100 + rounds()).for_each(round);
    assert_eq!(proxied.server.proxies().len(), 1);
    let grown = resident_bytes(me).saturating_sub(memory);
    eprintln!("{} rounds: {grown} bytes more", rounds());
    // Other tests of this process run beside it: a wide margin, and far below a proxy's figures a thousand times.
    assert!(grown < 64 << 20, "{grown} bytes more");
    proxied.wait_until_idle();
    eventually("descriptors to be given back", LIMIT, || {
        // Other tests of this process have some, but fewer than one for each round.
        (open_descriptors(me) < descriptors + 500).then_some(())
    });
}
