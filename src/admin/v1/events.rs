//! `GET /v1/events`: what happens, as server-sent events (HTML Living Standard, section 9.2).
//!
//! A client that comes back with Last-Event-ID gets what it missed, as far as that is kept, and is told where it is not.

use super::super::body::Answer;
use super::super::places::Busy;
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Route};
use crate::proxy::{Missed, Stamped};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// A comment is sent after so much silence: it shows both sides that the other is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Listeners at once: half of the connections, so that they never take the place of whoever wants to act.
const LISTENERS: usize = 32;

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[Route {
    refusals: &[503],
    ..Route::get(
        "/v1/events",
        "getEvents",
        "What happens, while it happens. Last-Event-ID brings what was missed, as far as it is kept; an event `missed` tells of what is not.",
        &[(
            200,
            Content::Events(schemars::SchemaGenerator::subschema_for::<Stamped>),
        )],
        Handler::Now(events),
    )
}];

/// A place among the listeners, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |n: usize| (n < LISTENERS).then_some(n + 1);
        taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be sent: first what is due at once, then what happens.
struct Feed {
    due: VecDeque<String>,
    live: Receiver<Arc<Stamped>>,
    _place: Place,
    /// Its connection is not idle.
    _busy: Busy,
}

impl Feed {
    async fn next(&mut self) -> Option<String> {
        if let Some(text) = self.due.pop_front() {
            return Some(text);
        }
        match tokio::time::timeout(KEEPALIVE, self.live.recv()).await {
            Err(_) => Some(": nothing new\n\n".into()),
            Ok(Ok(event)) => Some(written(&event)),
            Ok(Err(RecvError::Lagged(missed))) => Some(told(Some(missed))),
            Ok(Err(RecvError::Closed)) => None,
        }
    }
}

fn events(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    let last = match call.last_event_id.as_deref().map(str::parse::<u64>) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(Problem::bad("an event's id is a number").field("Last-Event-ID"));
        }
    };
    let place = Place::take(&cx.listeners).ok_or_else(|| {
        let detail = format!("{LISTENERS} listeners are there already");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let (missed, kept, live) = cx.server.events().resume(last);
    let mut due = VecDeque::from([": connected\n\n".to_owned()]);
    match missed {
        Missed::Nothing => {}
        Missed::Some(count) => due.push_back(told(Some(count))),
        Missed::Unknown => due.push_back(told(None)),
    }
    due.extend(kept.iter().map(|event| written(event)));
    let feed = Feed {
        due,
        live,
        _place: place,
        _busy: Busy::new(&call.answers),
    };
    let frames = futures_util::stream::unfold(feed, |mut feed| async move {
        let text = feed.next().await?;
        Some((frame(text.into()), feed))
    });
    let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn written(event: &Stamped) -> String {
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\ndata: {data}\n\n", event.id)
}

/// How many events are lost to this listener; `None`: nobody counted.
fn told(missed: Option<u64>) -> String {
    let data = serde_json::json!({ "missed": missed });
    format!("event: missed\ndata: {data}\n\n")
}

fn frame(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}
