//! The routes of the sample service.

use super::Service;
use super::breaker::Position;
use super::cache::CacheError;
use super::database::{DatabaseError, Module};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// A client has this long to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a module stays in the cache.
const MODULE_TTL: Duration = Duration::from_secs(60);
/// How long the list does: short, since nothing removes it when a module is made.
const LIST_TTL: Duration = Duration::from_millis(200);
/// Keys in Redis begin with this: a real one may be shared.
const PREFIX: &str = "brownout:demo:";

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no such route")]
    NoRoute,
    #[error("no such module")]
    NoModule,
    #[error("method not allowed")]
    Method,
    #[error("{0}")]
    Bad(&'static str),
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the database is not available")]
    Database(#[from] DatabaseError),
    #[error("the message bus is not available")]
    Bus(#[from] CacheError),
}

#[derive(Deserialize)]
struct NewModule {
    name: String,
}

#[derive(Deserialize)]
struct Publication {
    channel: String,
    message: String,
}

impl Service {
    /// Answers a request, whatever happens.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: hyper::body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.route(request)
            .await
            .unwrap_or_else(|failure| failed(&failure))
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Answer, Failure>
    where
        B: hyper::body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let path: Vec<_> = parts.uri.path().split('/').skip(1).collect();
        match (&parts.method, path.as_slice()) {
            (&Method::GET, ["health"]) => Ok(self.health()),
            (&Method::POST, ["modules"]) => self.create(read(body).await?).await,
            (&Method::GET, ["modules"]) => self.list().await,
            (&Method::GET, ["modules", id]) => {
                self.find(id.parse().map_err(|_| Failure::NoModule)?).await
            }
            (&Method::POST, ["publish"]) => self.publish(read(body).await?).await,
            (_, ["health" | "modules" | "publish"] | ["modules", _]) => Err(Failure::Method),
            _ => Err(Failure::NoRoute),
        }
    }

    /// Alive, whatever the dependencies do; it says how it sees them.
    fn health(&self) -> Answer {
        let cache = match self.cache.position() {
            Position::Closed => "ok",
            Position::Open => "unavailable",
            Position::HalfOpen => "probing",
        };
        json(
            StatusCode::OK,
            &serde_json::json!({ "status": "ok", "cache": cache }),
        )
    }

    async fn create(&self, new: NewModule) -> Result<Answer, Failure> {
        if new.name.is_empty() || new.name.len() > 200 || new.name.contains('\0') {
            return Err(Failure::Bad("a name has 1 to 200 bytes, none of them zero"));
        }
        let module = self.database.insert(&new.name).await?;
        self.remember(&module_key(module.id), &module, MODULE_TTL)
            .await;
        Ok(json(StatusCode::CREATED, &module))
    }

    async fn find(&self, id: i32) -> Result<Answer, Failure> {
        let key = module_key(id);
        if let Some(module) = self.recall::<Module>(&key).await {
            return Ok(json(StatusCode::OK, &module));
        }
        let module = self.database.find(id).await?.ok_or(Failure::NoModule)?;
        self.remember(&key, &module, MODULE_TTL).await;
        Ok(json(StatusCode::OK, &module))
    }

    async fn list(&self) -> Result<Answer, Failure> {
        let key = format!("{PREFIX}modules");
        if let Some(modules) = self.recall::<Vec<Module>>(&key).await {
            return Ok(json(StatusCode::OK, &modules));
        }
        let modules = self.database.list().await?;
        self.remember(&key, &modules, LIST_TTL).await;
        Ok(json(StatusCode::OK, &modules))
    }

    async fn publish(&self, publication: Publication) -> Result<Answer, Failure> {
        let channel = format!("{PREFIX}{}", publication.channel);
        let command = redis::Cmd::publish(channel, publication.message);
        let receivers: i64 = self.cache.call(&command).await?;
        Ok(json(
            StatusCode::OK,
            &serde_json::json!({ "receivers": receivers }),
        ))
    }

    /// What the cache has; a cache that fails has nothing.
    async fn recall<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        let cached: Option<Vec<u8>> = self.cache.call(&redis::Cmd::get(key)).await.ok()?;
        serde_json::from_slice(&cached?).ok()
    }

    /// Puts something into the cache, if it can be had.
    async fn remember(&self, key: &str, value: &impl Serialize, ttl: Duration) {
        let Ok(text) = serde_json::to_vec(value) else {
            return;
        };
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let command = redis::Cmd::pset_ex(key, text, milliseconds);
        let _: Result<(), _> = self.cache.call(&command).await;
    }
}

fn module_key(id: i32) -> String {
    format!("{PREFIX}module:{id}")
}

async fn read<T, B>(body: B) -> Result<T, Failure>
where
    T: serde::de::DeserializeOwned,
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect());
    let body = match whole.await {
        Err(_) => return Err(Failure::Bad("the body did not come in time")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Failure::TooLarge);
        }
        Ok(Err(_)) => return Err(Failure::Bad("the body did not come whole")),
        Ok(Ok(body)) => body.to_bytes(),
    };
    serde_json::from_slice(&body)
        .map_err(|_| Failure::Bad("the body is not the JSON that is expected"))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Every value here is plain data, which always becomes JSON; an empty object would still be an answer.
    let body = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn failed(failure: &Failure) -> Answer {
    let (status, retry_after) = match failure {
        Failure::NoRoute | Failure::NoModule => (StatusCode::NOT_FOUND, None),
        Failure::Method => (StatusCode::METHOD_NOT_ALLOWED, None),
        Failure::Bad(_) => (StatusCode::BAD_REQUEST, None),
        Failure::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Failure::Bus(CacheError::Refused(refused)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            // Whole seconds, rounded up: earlier is too early.
            Some(refused.retry_after.as_millis().div_ceil(1000)),
        ),
        Failure::Database(_) | Failure::Bus(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
    };
    // The text is ours: what a dependency said may hold addresses and names.
    let mut answer = json(status, &serde_json::json!({ "error": failure.to_string() }));
    if let Some(seconds) = retry_after
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        answer.headers_mut().insert(RETRY_AFTER, value);
    }
    answer
}
