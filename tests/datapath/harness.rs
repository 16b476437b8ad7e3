//! A server in this process, driven by a thread of its own.

use crate::peers::LIMIT;
use crate::support::eventually;
use brownout::config::{Config, Listen, ProxyConfig, Upstream};
use brownout::fault::FaultSpec;
use brownout::fault::store::Listed;
use brownout::measure::Slo;
use brownout::measure::stats::{ProxyStats, Stats};
use brownout::protocol::Protocol;
use brownout::proxy::{Event, Server, Stamped};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::sync::oneshot;

/// A running [`Server`]; its sessions are cut when it is dropped.
pub(crate) struct Proxied {
    pub(crate) server: Server,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxied {
    pub(crate) fn start(config: Config) -> Self {
        let (give, take) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = Server::start(config).await.unwrap();
                give.send((server.clone(), Handle::current())).unwrap();
                tokio::select! {
                    () = server.keep_time() => {}
                    _ = stopped => {}
                }
                server.drain(Duration::ZERO).await;
            });
        });
        let (server, runtime) = take.recv().unwrap();
        Self {
            server,
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// One proxy, named `p`.
    pub(crate) fn to(protocol: Protocol, upstream: SocketAddr) -> Self {
        Self::start(config([proxy("p", protocol, upstream)]))
    }

    /// One proxy of plain TCP with a scripted upstream behind it.
    pub(crate) fn tcp() -> (Self, TcpListener) {
        Self::before(Protocol::Tcp)
    }

    /// One proxy with a scripted upstream behind it.
    pub(crate) fn before(protocol: Protocol) -> (Self, TcpListener) {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        (Self::to(protocol, upstream.local_addr().unwrap()), upstream)
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        match self.server.proxy(name).unwrap().config.listen {
            Listen::Tcp(address) => address,
            Listen::Unix(path) => panic!("{name} listens on {}", path.display()),
        }
    }

    /// A connection to the proxy `p`.
    pub(crate) fn connect(&self) -> TcpStream {
        crate::peers::dial(self.address("p"))
    }

    /// Both ends of a new session.
    pub(crate) fn session(&self, upstream: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.connect();
        (client, crate::peers::accept(upstream))
    }

    pub(crate) fn stats(&self) -> Stats {
        self.runtime.block_on(self.server.stats(None))
    }

    /// The figures of the proxy `p`.
    pub(crate) fn figures(&self) -> ProxyStats {
        self.stats().proxy("p").unwrap().clone()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Switches a fault on.
    pub(crate) fn fault(&self, spec: serde_json::Value) -> Listed {
        let spec: FaultSpec = serde_json::from_value(spec).unwrap();
        self.server.add_fault(&spec, None).unwrap()
    }

    /// A fault that is on, as it is listed now.
    pub(crate) fn listed(&self, name: &str) -> Listed {
        let mut all = self.server.faults().into_iter();
        all.find(|f| f.name == name).unwrap()
    }

    pub(crate) fn wait_until_idle(&self) {
        eventually("all sessions to end", LIMIT, || {
            let open = self.server.proxies().iter().any(|p| p.sessions > 0);
            (!open).then_some(())
        });
    }

    pub(crate) fn events(&self) -> Events {
        Events(self.server.events().subscribe())
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// What happened since it was made.
pub(crate) struct Events(broadcast::Receiver<Arc<Stamped>>);

impl Events {
    /// The next event that `pick` takes; others are passed over.
    pub(crate) fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        eventually(what, LIMIT, || {
            while let Ok(stamped) = self.0.try_recv() {
                if let Some(it) = pick(&stamped.event) {
                    return Some(it);
                }
            }
            None
        })
    }
}

pub(crate) fn config(proxies: impl IntoIterator<Item = ProxyConfig>) -> Config {
    Config {
        proxies: proxies.into_iter().collect(),
        workers: NonZeroU32::new(2),
        seed: Some(1),
        ..Config::default()
    }
}

pub(crate) fn proxy(name: &str, protocol: Protocol, upstream: SocketAddr) -> ProxyConfig {
    ProxyConfig {
        name: name.into(),
        protocol,
        listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        upstream: Upstream::Tcp {
            host: upstream.ip().to_string(),
            port: upstream.port(),
        },
        slo: Slo::default(),
        routes: Vec::new(),
        pool: None,
        connect_timeout: Duration::from_secs(5),
        probe: brownout::config::Probe::default(),
    }
}
