//! Any request at the admin endpoint, without its sockets.

use super::guard::Guard;
use super::router::{Call, Context, Router, query, segments};
use crate::config::{Config, Listen, ProxyConfig, Upstream};
use crate::measure::Slo;
use crate::protocol::Protocol;
use crate::proxy::Server;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A server with a proxy of each protocol, and what answers for it.
pub(crate) struct Endpoint {
    runtime: Runtime,
    server: Server,
    router: Router,
    guard: Guard,
}

impl Endpoint {
    /// Starts the server, on ports that nobody uses.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let config = Config {
            proxies: [
                ("redis", Protocol::Redis),
                ("postgres", Protocol::Postgres),
                ("http", Protocol::Http),
                ("tcp", Protocol::Tcp),
            ]
            .map(|(name, protocol)| proxy(name, protocol))
            .into(),
            workers: NonZeroU32::new(1),
            seed: Some(1),
            base: PathBuf::from("/nowhere"),
            ..Config::default()
        };
        let server = runtime
            .block_on(Server::start(config))
            .expect("ports of the system's choice");
        let guard = Guard::new(Some(SocketAddr::from(([127, 0, 0, 1], 8474))), &[]);
        let cx = Context {
            server: server.clone(),
            tokens: None,
            audit: Arc::default(),
            insecure_plaintext: false,
            listeners: Arc::default(),
            live: super::v1::Live::default(),
        };
        let router = Router::new(cx, guard.clone(), 1);
        Self {
            runtime,
            server,
            router,
            guard,
        }
    }

    /// Answers a request as the endpoint would once it has arrived. What cannot arrive is passed over.
    pub(crate) fn ask(&self, input: &[u8]) {
        let mut lines = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Request::new(&mut lines);
        let Ok(httparse::Status::Complete(length)) = head.parse(input) else {
            return;
        };
        let method = head.method.unwrap_or_default().parse::<Method>();
        let uri = head.path.unwrap_or_default().parse::<Uri>();
        let (Ok(method), Ok(uri)) = (method, uri) else {
            return;
        };
        let mut headers = HeaderMap::new();
        for line in head.headers {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
                headers.append(name, value);
            }
        }
        if self.guard.check(&method, &headers).is_err() {
            return;
        }
        let (Ok(path), Ok(query)) = (segments(uri.path()), query(uri.query().unwrap_or_default()))
        else {
            return;
        };
        let call = Call {
            method,
            path,
            query,
            body: Bytes::copy_from_slice(&input[length..]),
            if_match: None,
            if_none_match: None,
            last_event_id: None,
            answers: Arc::default(),
        };
        let answer = self.runtime.block_on(self.router.route(&call));
        let status = answer.map_or_else(|problem| problem.status(), |answer| answer.status());
        assert!(!status.is_server_error(), "{status} to {call:?}");
        self.check_faults();
    }

    /// What was switched on has an end, is shown as it was written, and ends by a halt.
    fn check_faults(&self) {
        for fault in self.server.faults() {
            assert!(fault.left_ms <= 12 * 60 * 60 * 1000, "{fault:?}");
            let written = serde_json::to_string(&fault.fault).expect("text and numbers");
            let read: crate::fault::FaultSpec =
                serde_json::from_str(&written).expect("what was shown");
            assert_eq!(serde_json::to_string(&read).ok(), Some(written));
        }
        self.server.halt();
        assert!(self.server.faults().is_empty());
        self.server.resume();
    }
}

fn proxy(name: &str, protocol: Protocol) -> ProxyConfig {
    ProxyConfig {
        name: name.into(),
        protocol,
        listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        upstream: Upstream::Tcp {
            host: "127.0.0.1".into(),
            port: 9,
        },
        slo: Slo::default(),
        routes: Vec::new(),
        pool: None,
        connect_timeout: Duration::from_secs(1),
        probe: crate::config::Probe::default(),
    }
}
