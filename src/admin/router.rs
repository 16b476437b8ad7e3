//! From method and path to an answer: guards first, then who asks, then how often, and a record of what was changed.

use super::auth::{Role, Tokens, Who};
use super::body::{self, Answer, with_type};
use super::dashboard::Part;
use super::guard::Guard;
use super::places::Busy;
use super::problem::Problem;
use super::rate::Rate;
use super::ready::Probes;
use super::toxiproxy::{self, Toxics};
use super::v1;
use crate::audit::{Audit, Entry, cut};
use crate::proxy::Server;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Refusals that are recorded one by one in a second; more are counted.
const REFUSALS: u32 = 20;

/// A request that passed the guard, with its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Segments of the path, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    pub(super) last_event_id: Option<String>,
    /// Counts the answers of its connection that are on their way.
    pub(super) answers: Arc<AtomicUsize>,
}

impl Call {
    /// The value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What answers may need to know.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) server: Server,
    pub(super) tokens: Option<Tokens>,
    pub(super) audit: Arc<Audit>,
    /// Whether it can be reached from other machines without TLS.
    pub(super) insecure_plaintext: bool,
    /// Those who listen to events now.
    pub(super) listeners: Arc<AtomicUsize>,
    /// What the recording under way was found to say.
    pub(super) live: v1::Live,
}

/// Answers requests.
#[derive(Debug)]
pub(super) struct Router {
    cx: Context,
    toxics: Toxics,
    probes: Probes,
    guard: Guard,
    changes: Rate,
    refusals: Rate,
    left_out: AtomicU64,
    /// Held while something is changed: what was compared is what is changed, and what is recorded is what this request did.
    changing: tokio::sync::Mutex<()>,
    /// Nothing but figures and readiness, for anyone.
    only_figures: bool,
}

/// Where a request leads to.
enum Target {
    V1(v1::Found),
    Metrics,
    Health,
    Ready,
    Dashboard(Part),
    Toxiproxy,
}

impl Target {
    fn of(method: &Method, path: &[String]) -> Result<Self, Problem> {
        let only_get = |target| match *method {
            Method::GET => Ok(target),
            _ => Err(Problem::not_allowed(&["GET"])),
        };
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(part) = Part::at(&segments) {
            return only_get(Self::Dashboard(part));
        }
        match segments[..] {
            ["v1", ..] => v1::find(method.as_str(), path).map(Self::V1),
            ["metrics"] => only_get(Self::Metrics),
            ["healthz"] => only_get(Self::Health),
            ["readyz"] => only_get(Self::Ready),
            _ => Ok(Self::Toxiproxy),
        }
    }

    /// What it takes; `None`: nothing, for those who only look whether we live, and for the page, which asks for the token.
    fn role(&self, method: &Method, path: &[String]) -> Option<Role> {
        match self {
            Self::V1(found) => Some(found.route.role),
            Self::Metrics => Some(Role::Read),
            Self::Health | Self::Ready | Self::Dashboard(_) => None,
            Self::Toxiproxy if *method == Method::GET => Some(Role::Read),
            Self::Toxiproxy => {
                let toxics = path.iter().any(|s| s == "toxics" || s == "reset");
                Some(if toxics { Role::Operate } else { Role::Admin })
            }
        }
    }

    const fn is_figure(&self) -> bool {
        matches!(self, Self::Metrics | Self::Health | Self::Ready)
    }

    fn halts(&self) -> bool {
        matches!(self, Self::V1(found) if found.route.halts())
    }

    /// Whether nothing new is switched on by it.
    fn stops(&self, method: &Method) -> bool {
        match self {
            Self::V1(found) => found.route.stops(),
            _ => *method == Method::DELETE,
        }
    }
}

/// A request as it is recorded.
struct Asked<'r> {
    who: String,
    from: &'r str,
    what: String,
}

impl Asked<'_> {
    fn entry(&self, outcome: &'static str) -> Entry {
        Entry {
            who: self.who.clone(),
            from: self.from.to_owned(),
            what: self.what.clone(),
            outcome,
            ..Entry::default()
        }
    }
}

impl Router {
    pub(super) fn new(cx: Context, guard: Guard, changes_per_second: u32) -> Self {
        Self {
            cx,
            toxics: Toxics::default(),
            probes: Probes::default(),
            guard,
            changes: Rate::new(changes_per_second),
            refusals: Rate::new(REFUSALS),
            left_out: AtomicU64::new(0),
            changing: tokio::sync::Mutex::new(()),
            only_figures: false,
        }
    }

    /// One that tells figures and readiness, and does nothing else.
    pub(super) fn of_figures(server: Server, guard: Guard) -> Self {
        let cx = Context {
            server,
            tokens: None,
            audit: Arc::default(),
            insecure_plaintext: true,
            listeners: Arc::default(),
            live: v1::Live::default(),
        };
        Self {
            only_figures: true,
            ..Self::new(cx, guard, 1)
        }
    }

    /// The answer to a request. Never fails: what is wrong is said in the answer.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        from: &str,
        flag: &Arc<AtomicUsize>,
    ) -> Answer {
        let (parts, incoming) = request.into_parts();
        let mut asked = Asked {
            who: "anyone".into(),
            from,
            what: cut(&format!("{} {}", parts.method, parts.uri.path())),
        };
        match self.try_answer(&parts, incoming, &mut asked, flag).await {
            Ok(answer) => answer,
            Err(problem) => {
                self.refused(&parts.method, &asked, &problem);
                problem.into_answer()
            }
        }
    }

    async fn try_answer(
        &self,
        parts: &Parts,
        incoming: Incoming,
        asked: &mut Asked<'_>,
        flag: &Arc<AtomicUsize>,
    ) -> Result<Answer, Problem> {
        let (method, headers) = (&parts.method, &parts.headers);
        self.guard.check(method, headers)?;
        let path = segments(parts.uri.path())?;
        let target = Target::of(method, &path);
        // Who asks comes before what there is: a stranger does not learn which paths there are.
        let role = target
            .as_ref()
            .map_or(Some(Role::Read), |t| t.role(method, &path));
        if let Some(role) = role {
            let who = self.who(headers)?;
            asked.who = who.to_string();
            who.may(role)?;
        }
        let target = target?;
        if self.only_figures && !target.is_figure() {
            return Err(Problem::not_found());
        }
        let changes = *method != Method::GET && *method != Method::HEAD;
        if changes && !target.halts() {
            self.changes.take(Instant::now()).map_err(|wait| {
                let seconds = wait.as_secs().max(1).to_string();
                Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many changes in a second",
                )
                .header(RETRY_AFTER, seconds)
            })?;
        }
        let call = Call {
            method: method.clone(),
            path,
            query: query(parts.uri.query().unwrap_or_default())?,
            body: body::read(incoming).await?,
            if_match: text(headers, &IF_MATCH)?,
            if_none_match: text(headers, &IF_NONE_MATCH)?,
            last_event_id: text(headers, &LAST_EVENT_ID)?,
            answers: Arc::clone(flag),
        };
        // From here on nothing waits for the client any more.
        let _busy = Busy::new(flag);
        if matches!(target, Target::V1(_)) && !call.body.is_empty() {
            if !is_json(headers.get(CONTENT_TYPE)) {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "a body must be sent as application/json",
                )
                .field("Content-Type"));
            }
            body::object_only(&call.body)?;
            body::unambiguous(&call.body)?;
        }
        if changes {
            self.change(&target, &call, asked).await
        } else {
            self.serve(&target, &call).await
        }
    }

    /// The answer to a request of which nobody asks who sent it.
    #[cfg(any(test, fuzzing))]
    pub(super) async fn route(&self, call: &Call) -> Result<Answer, Problem> {
        let target = Target::of(&call.method, &call.path)?;
        if matches!(target, Target::V1(_)) {
            body::object_only(&call.body)?;
            body::unambiguous(&call.body)?;
        }
        self.serve(&target, call).await
    }

    fn who(&self, headers: &HeaderMap) -> Result<Who, Problem> {
        match &self.cx.tokens {
            None => Ok(Who::local()),
            Some(tokens) => tokens
                .who(headers)
                .map_err(|p| p.header(WWW_AUTHENTICATE, "Bearer realm=\"brownout\"".into())),
        }
    }

    async fn serve(&self, target: &Target, call: &Call) -> Result<Answer, Problem> {
        match target {
            Target::V1(found) => v1::answer(&self.cx, call, found).await,
            Target::Metrics => {
                let server = &self.cx.server;
                let mut text = server.exposition().await;
                let stats = server.stats(None).await;
                text += &toxiproxy::exposition(&server.proxies(), &stats);
                let kind = "text/plain; version=0.0.4";
                Ok(with_type(StatusCode::OK, text.into(), kind))
            }
            Target::Health => {
                let text = Bytes::from_static(b"ok\n");
                Ok(with_type(StatusCode::OK, text, "text/plain"))
            }
            Target::Dashboard(part) => Ok(part.answer()),
            Target::Ready => self.probes.answer(&self.cx.server, call).await,
            Target::Toxiproxy => toxiproxy::answer(&self.cx.server, &self.toxics, call)
                .await
                .ok_or_else(Problem::not_found),
        }
    }

    /// Something that changes: one after the other, and recorded. What cannot be recorded is not switched on; what stops
    /// something is done all the same, and halting waits for nobody.
    async fn change(
        &self,
        target: &Target,
        call: &Call,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let _alone = if target.halts() {
            None
        } else {
            Some(self.changing.lock().await)
        };
        if !target.stops(&call.method) && self.cx.audit.is_on() {
            self.cx.audit.record(&asked.entry("asked")).map_err(|_| {
                let detail = "the audit log cannot be written, so nothing is switched on; halt and disable still work";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            })?;
        }
        let before = self.picture();
        let answer = self.serve(target, call).await?;
        let (old, new) = difference(before, self.picture());
        let status = answer.status();
        let outcome = if status.is_client_error() || status.is_server_error() {
            "refused"
        } else {
            "done"
        };
        // It has happened: that it cannot be recorded is in the log, and bars what comes next.
        let _ = self.cx.audit.record(&Entry {
            status: Some(status.as_u16()),
            ttl_ms: longest(&new),
            old,
            new,
            ..asked.entry(outcome)
        });
        Ok(answer)
    }

    /// What can be changed, as it is; nothing where nothing is recorded.
    fn picture(&self) -> BTreeMap<String, Value> {
        if self.cx.audit.is_on() {
            self.cx.server.picture()
        } else {
            BTreeMap::new()
        }
    }

    /// Records a refusal: of every change, and of every stranger.
    fn refused(&self, method: &Method, asked: &Asked<'_>, problem: &Problem) {
        let status = problem.status();
        let stranger = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !self.cx.audit.is_on() || (*method == Method::GET && !stranger) {
            return;
        }
        if self.refusals.take(Instant::now()).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        // A refusal that cannot be recorded stays one.
        let _ = self.cx.audit.record(&Entry {
            status: Some(status.as_u16()),
            why: cut(problem.detail()),
            left_out: (left_out > 0).then_some(left_out),
            ..asked.entry("refused")
        });
    }
}

/// What was and is no more, and what is and was not.
fn difference(
    mut before: BTreeMap<String, Value>,
    mut after: BTreeMap<String, Value>,
) -> (Value, Value) {
    before.retain(|key, old| match after.get(key) {
        Some(new) if new == old => {
            after.remove(key);
            false
        }
        _ => true,
    });
    let value = |map: BTreeMap<String, Value>| {
        if map.is_empty() {
            Value::Null
        } else {
            map.into_iter().collect()
        }
    };
    (value(before), value(after))
}

/// The longest time to live among what was switched on.
fn longest(new: &Value) -> Option<u64> {
    let faults = new.as_object()?.values();
    faults.filter_map(|fault| fault["ttl_ms"].as_u64()).max()
}

/// A header that may stand there once.
fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    let refuse = |what: &str| Problem::bad(what).field(name.as_str());
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(refuse("this header may stand there once")),
        (Some(value), None) => {
            let text = value
                .to_str()
                .map_err(|_| refuse("this header is no text"))?;
            Ok(Some(text.to_owned()))
        }
    }
}

fn is_json(kind: Option<&HeaderValue>) -> bool {
    let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = kind.split(|b| *b == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

pub(super) fn segments(path: &str) -> Result<Vec<String>, Problem> {
    path.split('/')
        .filter(|s| !s.is_empty())
        .map(decode)
        .collect()
}

pub(super) fn query(text: &str) -> Result<Vec<(String, String)>, Problem> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String, Problem> {
    let malformed = || Problem::new(StatusCode::BAD_REQUEST, "the address is not well encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|d| (d as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(malformed());
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_segment_by_segment() {
        assert_eq!(
            segments("/v1//faults/a%2Fb/").expect("valid"),
            ["v1", "faults", "a/b"]
        );
        assert!(segments("/%zz").is_err());
        assert!(segments("/%f").is_err());
        assert!(segments("/%ff").is_err());
    }

    #[test]
    fn json_is_known_by_its_essence() {
        let json = |text: &'static str| is_json(Some(&HeaderValue::from_static(text)));
        assert!(json("application/json"));
        assert!(json("Application/JSON; charset=utf-8"));
        assert!(!json("text/plain"));
        assert!(!json("application/jsonp"));
        assert!(!is_json(None));
    }
}
