//! `GET /v1/events`: what happens, as server-sent events (HTML Living Standard, section 9.2).

use super::body::Answer;
use crate::proxy::Server;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// A comment is sent after so much silence: it shows both sides that the other is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The answer: everything from now on, until the client goes.
pub(super) fn stream(server: &Server) -> Answer {
    let events = server.events().subscribe();
    let first = Some(Bytes::from_static(b": connected\n\n"));
    let frames = futures_util::stream::unfold((events, first), |(mut events, first)| async move {
        if let Some(bytes) = first {
            return Some((frame(bytes), (events, None)));
        }
        let text = match tokio::time::timeout(KEEPALIVE, events.recv()).await {
            Err(_) => ": nothing new\n\n".to_owned(),
            Ok(Ok(event)) => {
                let data = serde_json::to_string(&*event).unwrap_or_default();
                format!("id: {}\ndata: {data}\n\n", event.id)
            }
            Ok(Err(RecvError::Lagged(missed))) => {
                format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")
            }
            Ok(Err(RecvError::Closed)) => return None,
        };
        Some((frame(text.into()), (events, None)))
    });
    let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn frame(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}
