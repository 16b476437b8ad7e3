//! The way to the upstream: refused, silent, by unix socket and IPv6, gone and back, and never ourselves.

use crate::harness::{Proxied, config, proxy};
use crate::peers::{End, LIMIT, Serving, dial, echo, ping, read_to_end};
use crate::support::{Directory, eventually, free_port};
use brownout::config::{Listen, ProxyConfig, Upstream};
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Connects, and is reset: as near to a refused connection as an accepted one comes. It may come before connecting is done.
fn turned_away(address: SocketAddr) {
    match TcpStream::connect(address) {
        Ok(stream) => assert_eq!(read_to_end(&stream), (Vec::new(), End::Rst)),
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
}

/// Why the next session gets no upstream.
fn failure(proxied: &Proxied, name: &str) -> &'static str {
    let mut events = proxied.events();
    turned_away(proxied.address(name));
    events.find("the failed connect", |event| match event {
        Event::ConnectFailed { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_refused_upstream_resets_the_client_at_once() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxied = Proxied::to(Protocol::Tcp, nobody);
    let started = Instant::now();
    assert_eq!(failure(&proxied, "p"), "refused");
    assert!(started.elapsed() < Duration::from_secs(1));
    let figures = proxied.figures();
    assert_eq!((figures.connects.refused, figures.connects.ok), (1, 0));
    proxied.wait_until_idle();
}

/// A listener whose queue is full answers no SYN: what connects to it waits.
fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0))))
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let connected =
            socket.connect_timeout(&SockAddr::from(address), Duration::from_millis(100));
        held.push(socket);
        if connected.is_err() {
            return (listener, held, address);
        }
        assert!(
            held.len() < 8,
            "the queue of a listener with backlog 0 never fills"
        );
    }
}

#[test]
fn a_silent_upstream_times_out_for_its_own_session_only() {
    let (_listener, _held, address) = silent();
    let echo = Serving::echo();
    let mut slow = proxy("slow", Protocol::Tcp, address);
    slow.connect_timeout = Duration::from_millis(600);
    let mut both = config([slow, proxy("p", Protocol::Tcp, echo.address)]);
    // One worker: the session that waits for its upstream shares it with the others.
    both.workers = std::num::NonZeroU32::new(1);
    let proxied = Proxied::start(both);

    let started = Instant::now();
    let waiting: Vec<_> = (0..20).map(|_| dial(proxied.address("slow"))).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let before = Instant::now();
        ping(&proxied.connect()).unwrap();
        slowest = slowest.max(before.elapsed());
    }
    assert!(
        slowest < Duration::from_millis(300),
        "{slowest:?} beside connects that wait"
    );
    assert_eq!(failure(&proxied, "slow"), "timeout");
    for one in &waiting {
        assert_eq!(read_to_end(one).1, End::Rst);
    }
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(600) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(proxied.stats().proxy("slow").unwrap().connects.timeout, 21);
    proxied.wait_until_idle();
}

fn unix_proxy(name: &str, listen: Listen, upstream: Upstream) -> ProxyConfig {
    ProxyConfig {
        listen,
        upstream,
        ..proxy(name, Protocol::Tcp, SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}

fn unix_echo(listener: UnixListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    if stream.write_all(&piece[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let directory = Directory::new("unix");
    let (front, back) = (
        directory.path().join("front"),
        directory.path().join("back"),
    );
    unix_echo(UnixListener::bind(&back).unwrap());
    // What a killed process leaves: a socket file that nobody listens on.
    drop(UnixListener::bind(&front).unwrap());
    let proxied = Proxied::start(config([unix_proxy(
        "p",
        Listen::Unix(front.clone()),
        Upstream::Unix(back),
    )]));
    let mut client = UnixStream::connect(&front).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"over two unix sockets").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut echoed = String::new();
    client.read_to_string(&mut echoed).unwrap();
    assert_eq!(echoed, "over two unix sockets");
    proxied.wait_until_idle();
    drop(proxied);
    assert!(!front.exists(), "the socket file goes with the listener");
}

/// A connect to a unix socket whose queue is full fails at once where it does not block; a direct client would wait.
#[test]
fn a_full_queue_of_a_unix_upstream_is_waited_for() {
    let directory = Directory::new("queue");
    let back = directory.path().join("back");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&back).unwrap()).unwrap();
    listener.listen(1).unwrap();
    let any = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let proxied = Proxied::start(config([unix_proxy("p", any, Upstream::Unix(back))]));
    let clients: Vec<_> = (0..16).map(|_| proxied.connect()).collect();
    eventually("all sessions to be there", LIMIT, || {
        (proxied.server.proxy("p").unwrap().sessions == 16).then_some(())
    });
    std::thread::sleep(Duration::from_millis(50));
    unix_echo(UnixListener::from(std::os::fd::OwnedFd::from(listener)));
    for client in &clients {
        ping(client).unwrap();
    }
    let connects = proxied.figures().connects;
    assert_eq!((connects.ok, connects.other), (16, 0));
}

#[test]
fn ipv6_serves_on_both_sides() {
    let echo = Serving::on(TcpListener::bind("[::1]:0").unwrap(), echo);
    let mut six = proxy("p", Protocol::Tcp, echo.address);
    six.listen = Listen::Tcp("[::1]:0".parse().unwrap());
    let proxied = Proxied::start(config([six]));
    assert!(proxied.address("p").is_ipv6());
    ping(&proxied.connect()).unwrap();
}

#[test]
fn every_address_of_a_name_is_tried() {
    for listen in ("localhost", 0).to_socket_addrs().unwrap() {
        let echo = Serving::on(TcpListener::bind(listen).unwrap(), echo);
        let mut named = proxy("p", Protocol::Tcp, echo.address);
        let port = echo.address.port();
        named.upstream = Upstream::Tcp {
            host: "localhost".into(),
            port,
        };
        let proxied = Proxied::start(config([named]));
        ping(&proxied.connect()).unwrap_or_else(|e| panic!("localhost at {listen}: {e}"));
    }
}

/// An upstream that can be killed, connections and all, and started again on its port.
struct Restarted {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    serving: Option<Serving>,
}

impl Restarted {
    fn new() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self {
            address,
            open: Arc::default(),
            serving: None,
        }
    }

    fn start(&mut self) {
        let open = Arc::clone(&self.open);
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&SockAddr::from(self.address)).unwrap();
        listener.listen(128).unwrap();
        self.serving = Some(Serving::on(listener.into(), move |stream| {
            open.lock().unwrap().push(stream.try_clone().unwrap());
            echo(stream);
        }));
    }

    fn kill(&mut self) {
        self.serving = None;
        for stream in self.open.lock().unwrap().drain(..) {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn an_upstream_that_comes_back_is_used_at_once() {
    const RESTARTS: usize = 30;
    let mut upstream = Restarted::new();
    let proxied = Proxied::to(Protocol::Tcp, upstream.address);
    let (stop, successes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Reset already while it connects, where there is no upstream.
                    let Ok(client) = TcpStream::connect(proxied.address("p")) else {
                        continue;
                    };
                    while !stop.load(Ordering::Relaxed) && ping(&client).is_ok() {
                        successes.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let mut waits = Vec::new();
        for _ in 0..RESTARTS {
            let refused = proxied.figures().connects.refused;
            eventually("a client to find it gone", LIMIT, || {
                (proxied.figures().connects.refused > refused).then_some(())
            });
            upstream.start();
            let (started, before) = (Instant::now(), successes.load(Ordering::Relaxed));
            eventually("the first success", LIMIT, || {
                (successes.load(Ordering::Relaxed) > before).then_some(())
            });
            waits.push(started.elapsed());
            upstream.kill();
        }
        stop.store(true, Ordering::Relaxed);
        waits.sort_unstable();
        assert!(
            waits[RESTARTS / 2] < Duration::from_millis(100),
            "{waits:?}"
        );
    });
    proxied.wait_until_idle();
    let figures = proxied.figures();
    assert_eq!(figures.sessions.opened, figures.sessions.closed);
    assert_eq!((figures.sessions.open, figures.sessions.busy), (0, 0));
    assert!(
        figures.connects.ok >= RESTARTS as u64,
        "{:?}",
        figures.connects
    );
}

#[test]
fn our_own_listeners_are_no_upstream() {
    let port = free_port();
    let four = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let upstreams = [
        ("itself", "127.0.0.1"),
        ("any", "0.0.0.0"),
        ("name", "localhost"),
        ("mapped", "::ffff:127.0.0.1"),
    ];
    let mut proxies = Vec::new();
    for (name, host) in upstreams {
        let mut one = proxy(
            name,
            Protocol::Tcp,
            SocketAddr::from(([127, 0, 0, 1], port)),
        );
        one.upstream = Upstream::Tcp {
            host: host.into(),
            port,
        };
        if name == "itself" {
            one.listen = four.clone();
        }
        proxies.push(one);
    }
    let six = free_port();
    let mut one = proxy("six", Protocol::Tcp, SocketAddr::from(([0; 16], six)));
    one.listen = Listen::Tcp(SocketAddr::from(([0; 16], six)));
    proxies.push(one.clone());
    one.name = "other-six".into();
    one.listen = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    one.upstream = Upstream::Tcp {
        host: "::1".into(),
        port: six,
    };
    proxies.push(one);
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    proxies.push(proxy("admin", Protocol::Tcp, admin.local_addr().unwrap()));

    let names: Vec<String> = proxies.iter().map(|p| p.name.clone()).collect();
    let proxied = Proxied::start(config(proxies));
    let admin = Listen::Tcp(admin.local_addr().unwrap());
    proxied.server.set_admin(Some(admin));
    for name in &names {
        let reason = failure(&proxied, name);
        assert_eq!(reason, "loop", "{name}");
        assert!(
            proxied.stats().proxy(name).unwrap().connects.looped >= 1,
            "{name}"
        );
    }
}

#[test]
fn our_own_unix_listener_is_no_upstream_by_any_name() {
    let directory = Directory::new("loop");
    let (own, alias) = (directory.path().join("own"), directory.path().join("alias"));
    std::os::unix::fs::symlink(&own, &alias).unwrap();
    let any = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let proxied = Proxied::start(config([
        unix_proxy(
            "own",
            Listen::Unix(own.clone()),
            Upstream::Unix(own.clone()),
        ),
        unix_proxy("direct", any.clone(), Upstream::Unix(own)),
        unix_proxy("linked", any, Upstream::Unix(alias)),
    ]));
    for name in ["direct", "linked"] {
        assert_eq!(failure(&proxied, name), "loop", "{name}");
    }
}
