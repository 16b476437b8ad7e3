//! `/readyz`: whether every proxy does what it should, and with `?probe=upstream` whether what is behind it answers.

use super::body::{Answer, json};
use super::problem::Problem;
use super::router::Call;
use crate::probe::{self, Health};
use crate::proxy::Server;
use hyper::StatusCode;
use serde_json::json as value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// So long the last answer is given again: no token is asked for here, and whoever asks a thousand times a second must not make
/// us ask the upstreams as often.
const FRESH: Duration = Duration::from_secs(1);

/// What the upstreams last said, and when.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<Option<(Instant, Arc<[Health]>)>>);

impl Probes {
    /// One asks, and all who came meanwhile get that answer.
    async fn get(&self, server: &Server) -> Arc<[Health]> {
        let mut last = self.0.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(health);
        }
        let configs: Vec<_> = server
            .proxies()
            .into_iter()
            .filter(|p| !p.disabled)
            .map(|p| p.config)
            .collect();
        let health: Arc<[Health]> = probe::all(&configs).await.into();
        *last = Some((Instant::now(), Arc::clone(&health)));
        health
    }

    /// Ready: every proxy listens, or was switched off on purpose, or a fault has closed its listener; with `probe=upstream` also:
    /// every upstream answers in its protocol.
    pub(super) async fn answer(&self, server: &Server, call: &Call) -> Result<Answer, Problem> {
        let proxies = server.proxies();
        let mut ready = proxies.iter().all(|p| p.enabled || p.disabled);
        let named = proxies.iter().map(|p| (p.config.name.clone(), p.enabled));
        let mut shown = value!({ "proxies": named.collect::<BTreeMap<_, _>>() });
        match call.parameter("probe") {
            None => {}
            Some("upstream") => {
                let health = self.get(server).await;
                ready &= health.iter().all(|h| h.healthy);
                let upstreams = health.iter().map(|h| {
                    let told =
                        value!({ "healthy": h.healthy, "took_us": h.took_us, "said": h.said });
                    (h.proxy.clone(), told)
                });
                shown["upstreams"] = upstreams.collect::<BTreeMap<_, _>>().into_iter().collect();
            }
            Some(_) => {
                let detail = "the only probe is `upstream`: /readyz?probe=upstream";
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail).field("probe"));
            }
        }
        shown["ready"] = ready.into();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Ok(json(status, &shown))
    }
}
