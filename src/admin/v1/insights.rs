//! `/v1/insights`: what the recording under way says of the service; `/v1/recording`: one in memory, for that alone.

use super::super::auth::Role;
use super::super::body::{self, empty, json, with_type};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Later, Query, Route};
use crate::insight::words::{self, Line};
use crate::insight::{Insights, SECOND, Topology, infer};
use crate::measure::trace::{Excerpt, Keeping};
use bytes::Bytes;
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// An answer is given to all who ask within this time.
const LASTS: Duration = Duration::from_secs(1);

/// ... or within so many times of what it took to find: reading takes a fifth of a core at most.
const REST: u32 = 4;

/// How long a service has to be itself to have recovered.
const STABLE: u64 = 3 * SECOND;

/// A recording for insights ends when nobody has asked for them for so long.
const UNASKED: Duration = Duration::from_secs(600);

/// What to do where nothing is recorded.
const SWITCH_ON: &str = "Watch with POST /v1/recording, or start `brownout run` with `--record DIR`. Connections are seen from their \
                         begin on: those that are open before are not.";

/// What is recorded.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Recording {
    /// Nothing.
    Off,
    /// What is recent, in memory.
    Memory,
    /// All, to a file.
    File,
}

impl Recording {
    const fn of(keeping: Option<Keeping>) -> Self {
        match keeping {
            None | Some(Keeping::Memory) => Self::Off,
            Some(Keeping::Recent) => Self::Memory,
            Some(Keeping::File) => Self::File,
        }
    }
}

/// What the recording under way says of the last disturbance.
#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    /// What is recorded.
    recording: Recording,
    /// How it is switched on, where nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    /// Milliseconds that are read: back to the last disturbance and the quiet before it, at most 10 minutes.
    length_ms: u64,
    /// Records that are read.
    records: usize,
    /// Whether the recording began before that.
    cut: bool,
    /// Connections that were open before the recording began, and are not in it.
    unseen_sessions: u64,
    /// The proxy that is taken for the service's own API; none where none was named and several could be it.
    api: Option<String>,
    /// In words, by dependency.
    dependencies: Vec<Said>,
    /// All of it; its times count from the begin of what is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    insights: Option<Insights>,
}

/// What is known of a dependency, in words.
#[derive(Debug, Serialize, JsonSchema)]
struct Said {
    /// Its proxy.
    proxy: String,
    /// Whether a fault touched it: without one there is nothing to know.
    affected: bool,
    /// By subject.
    lines: Vec<Line>,
}

/// What is recorded now.
#[derive(Debug, Serialize, JsonSchema)]
struct Switched {
    /// What is recorded.
    recording: Recording,
}

/// The answers that were found last, by the proxy that was named as the service's API.
#[derive(Debug, Default)]
struct Kept(BTreeMap<Option<String>, (Bytes, Instant)>);

/// Answers that serve for a while. Whoever asks while one is being found waits for it.
#[derive(Debug, Default)]
pub(in super::super) struct Live(Arc<Mutex<Kept>>);

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        query: &[Query {
            name: "api",
            about: "The proxy before the service's own API, whose requests cause the calls to the others. Default: the only HTTP proxy.",
            schema: |g| g.subschema_for::<String>(),
        }],
        refusals: &[422],
        ..Route::get(
            "/v1/insights",
            "getInsights",
            "What the recording under way says of the service: its breaker, timeouts, retries, recovery. Requests without a reply yet are \
             in it as such.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Shown>),
            )],
            Handler::Later(show),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        ..Route::get(
            "/v1/recording",
            "beginRecording",
            "Records what passes from now on, for insights: in memory, the newest 10 minutes or 262144 records, until it is ended or \
             nobody has asked for insights for 10 minutes. Where a recording is under way nothing changes.",
            &[
                (
                    200,
                    Content::Json(schemars::SchemaGenerator::subschema_for::<Switched>),
                ),
                (
                    201,
                    Content::Json(schemars::SchemaGenerator::subschema_for::<Switched>),
                ),
            ],
            Handler::Later(begin),
        )
    },
    Route {
        method: "DELETE",
        role: Role::Operate,
        refusals: &[409],
        ..Route::get(
            "/v1/recording",
            "endRecording",
            "Ends the recording in memory, and forgets it. One to a file goes on.",
            &[(204, Content::Empty)],
            Handler::Later(end),
        )
    },
];

fn show<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        let api = api(cx, call)?;
        let kept = Arc::clone(&cx.live.0).lock_owned().await;
        let text = match kept.fresh(api.as_deref()) {
            Some(text) => text,
            None => find(cx, kept, api).await?,
        };
        Ok(with_type(StatusCode::OK, text, "application/json"))
    })
}

fn begin<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        body::nothing(&call.body)?;
        let mut kept = cx.live.0.lock().await;
        let begun = cx.server.record_recent(UNASKED).await;
        *kept = Kept::default();
        let recording = Recording::of(cx.server.keeping().await);
        let status = if begun {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(json(status, &Switched { recording }))
    })
}

fn end<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        body::nothing(&call.body)?;
        let mut kept = cx.live.0.lock().await;
        cx.server.forget_recent().await.map_err(|_| {
            let detail = "the recording goes to a file, and ends with the process";
            Problem::new(StatusCode::CONFLICT, detail)
        })?;
        *kept = Kept::default();
        Ok(empty(StatusCode::NO_CONTENT))
    })
}

/// The proxy that is named as the service's own API.
fn api(cx: &Context, call: &Call) -> Result<Option<String>, Problem> {
    let Some(name) = call.parameter("api") else {
        return Ok(None);
    };
    let proxies = cx.server.proxies();
    let known: Vec<&str> = proxies.iter().map(|p| p.config.name.as_str()).collect();
    if known.contains(&name) {
        return Ok(Some(name.to_owned()));
    }
    let known = known.join(", ");
    Err(no_api(format!(
        "api: there is no proxy `{name}`; there are: {known}"
    )))
}

fn no_api(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).field("api")
}

/// Reads what was recorded, on a thread that nobody waits for but who asks. `kept` is held until then, also where the client is
/// gone meanwhile: there is one reading at a time.
async fn find(
    cx: &Context,
    mut kept: OwnedMutexGuard<Kept>,
    api: Option<String>,
) -> Result<Bytes, Problem> {
    let Some(excerpt) = cx.server.recent().await else {
        return Ok(written(&Shown::nothing()));
    };
    if let Some(late) = api.as_ref().filter(|api| !excerpt.has(api)) {
        return Err(no_api(format!(
            "api: the proxy `{late}` came after the recording began and is not in it: end the recording and begin another"
        )));
    }
    let recording = Recording::of(cx.server.keeping().await);
    let proxies = cx.server.proxies();
    let recorded = proxies.iter().filter(|p| excerpt.has(&p.config.name));
    let open = recorded.map(|p| u64::from(p.sessions)).sum();
    let reading = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let text = written(&Shown::of(excerpt, recording, open, api.clone()));
        kept.keep(api, &text, begun.elapsed());
        text
    });
    reading.await.map_err(|_| {
        let detail = "the recording could not be read";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })
}

fn written(shown: &Shown) -> Bytes {
    serde_json::to_vec(shown).unwrap_or_default().into()
}

impl Kept {
    fn fresh(&self, api: Option<&str>) -> Option<Bytes> {
        let (text, until) = self.0.get(&api.map(str::to_owned))?;
        (Instant::now() < *until).then(|| text.clone())
    }

    /// The more answers are asked for in turn, the longer each serves. There are no more than proxies.
    fn keep(&mut self, api: Option<String>, text: &Bytes, took: Duration) {
        let now = Instant::now();
        self.0.retain(|_, (_, until)| now < *until);
        let asked = u32::try_from(self.0.len() + 1).unwrap_or(u32::MAX);
        let lasts = LASTS.max(took.saturating_mul(REST).saturating_mul(asked));
        self.0.insert(api, (text.clone(), now + lasts));
    }
}

impl Shown {
    fn nothing() -> Self {
        Self {
            recording: Recording::Off,
            remedy: Some(SWITCH_ON),
            length_ms: 0,
            records: 0,
            cut: false,
            unseen_sessions: 0,
            api: None,
            dependencies: Vec::new(),
            insights: None,
        }
    }

    /// `open`: connections that are open now.
    fn of(excerpt: Excerpt, recording: Recording, open: u64, api: Option<String>) -> Self {
        let part = excerpt.into_part();
        let topology = Topology {
            api,
            ..Topology::default()
        };
        let insights = infer(&part.trace, &topology, STABLE);
        let dependencies = insights.dependencies.iter().map(|d| Said {
            proxy: d.proxy.clone(),
            affected: d.affected.is_some(),
            lines: words::of(d),
        });
        Self {
            recording,
            remedy: None,
            length_ms: insights.length / 1_000_000,
            records: part.trace.records.len(),
            cut: part.cut,
            unseen_sessions: open.saturating_sub(part.open as u64),
            api: insights.api.clone(),
            dependencies: dependencies.collect(),
            insights: Some(insights),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_to_find_serves_longer() {
        let mut kept = Kept::default();
        assert_eq!(kept.fresh(None), None);
        let text = Bytes::from_static(b"{}");
        kept.keep(None, &text, Duration::ZERO);
        assert_eq!(kept.fresh(None).as_ref(), Some(&text));
        let (_, short) = kept.0.remove(&None).expect("kept");
        kept.keep(None, &text, Duration::from_secs(5));
        let (_, long) = kept.0.remove(&None).expect("kept");
        assert!(long > short + Duration::from_secs(15));
    }

    #[test]
    fn answers_about_several_apis_serve_longer_each() {
        let mut kept = Kept::default();
        let (first, second) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        kept.keep(Some("a".into()), &first, Duration::from_secs(5));
        assert_eq!(kept.fresh(Some("b")), None);
        kept.keep(Some("b".into()), &second, Duration::from_secs(5));
        assert_eq!(kept.fresh(Some("a")), Some(first));
        assert_eq!(kept.fresh(Some("b")), Some(second));
        let until = |api: &str| kept.0[&Some(api.to_owned())].1;
        assert!(until("b") > until("a") + Duration::from_secs(15));
    }

    #[test]
    fn where_nothing_is_recorded_it_says_what_to_do() {
        let shown = serde_json::to_value(Shown::nothing()).expect("JSON");
        assert_eq!(shown["recording"], "off");
        let remedy = shown["remedy"].as_str().expect("a remedy");
        assert!(remedy.contains("--record") && remedy.contains("/v1/recording"));
    }
}
