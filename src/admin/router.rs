//! From method and path to an answer.

use super::body::{self, Answer, empty, with_type};
use super::guard::Guard;
use super::problem::Problem;
use super::toxiproxy::{self, Toxics};
use super::v1;
use crate::proxy::Server;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};

/// A request that passed the guard, with its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Segments of the path, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
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

/// Answers requests.
#[derive(Debug)]
pub(super) struct Router {
    server: Server,
    toxics: Toxics,
    guard: Guard,
}

impl Router {
    pub(super) fn new(server: Server, guard: Guard) -> Self {
        let toxics = Toxics::default();
        Self {
            server,
            toxics,
            guard,
        }
    }

    /// The answer to a request. Never fails: what is wrong is said in the answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.try_answer(request).await {
            Ok(answer) => answer,
            Err(problem) => problem.into_answer(),
        }
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let (parts, incoming) = request.into_parts();
        self.guard.check(&parts.method, &parts.headers)?;
        let path = segments(parts.uri.path())?;
        let query = query(parts.uri.query().unwrap_or_default())?;
        let body = body::read(incoming).await?;
        let ours = path.first().is_some_and(|s| s == "v1");
        if ours && !body.is_empty() && !is_json(parts.headers.get(CONTENT_TYPE)) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a body must be sent as application/json",
            )
            .field("Content-Type"));
        }
        self.route(&Call {
            method: parts.method,
            path,
            query,
            body,
        })
        .await
    }

    /// The answer to a request that may be looked at.
    pub(super) async fn route(&self, call: &Call) -> Result<Answer, Problem> {
        let names: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match (&call.method, &names[..]) {
            (_, ["v1", rest @ ..]) => v1::answer(&self.server, call, rest).await,
            (&Method::GET, ["metrics"]) => {
                let mut text = self.server.exposition().await;
                let stats = self.server.stats(None).await;
                text += &toxiproxy::exposition(&self.server.proxies(), &stats);
                Ok(with_type(
                    StatusCode::OK,
                    text.into(),
                    "text/plain; version=0.0.4",
                ))
            }
            (&Method::GET, ["healthz"]) => Ok(with_type(
                StatusCode::OK,
                Bytes::from_static(b"ok\n"),
                "text/plain",
            )),
            (&Method::GET, ["readyz"]) => Ok(v1::ready(&self.server)),
            (_, ["metrics" | "healthz" | "readyz"]) => Ok(not_allowed("GET")),
            _ => toxiproxy::answer(&self.server, &self.toxics, call)
                .await
                .ok_or_else(Problem::not_found),
        }
    }
}

/// 405 with what is allowed.
pub(super) fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
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
