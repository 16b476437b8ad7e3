//! `error`: the protocol's own error in place of a reply.
//!
//! Written as a `preset` ([`super::super::preset`]), as `code` and `message`, whose meaning Redis and Postgres each have their
//! own of, or as an HTTP `status`. The encoding is the protocols' business.

use std::sync::Arc;

use crate::config::suggest::nearest;
use crate::fault::plan::Ending;
use crate::fault::preset;
use crate::fault::problems::{Problems, listed};
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &[
    "preset",
    "code",
    "message",
    "close",
    "status",
    "headers",
    "body",
    "retry_after",
];

/// The longest `message`, in bytes.
const MAX_MESSAGE: usize = 4 << 10;

/// The longest `body`, in bytes.
const MAX_BODY: usize = 256 << 10;

/// The protocol's own error reply, as configured; each protocol encodes it.
#[derive(Debug, Clone, PartialEq)]
pub enum ErrorReply {
    /// `-CODE message`.
    Redis {
        /// First word: `LOADING`.
        code: String,
        /// The rest of the line.
        message: String,
        /// Close after it (ERR max number of clients reached).
        close: bool,
    },
    /// `ErrorResponse` with severity ERROR, or FATAL and then FIN.
    Postgres {
        /// Five characters: `40001`.
        sqlstate: String,
        /// The primary message.
        message: String,
        /// FATAL: the connection ends after it.
        fatal: bool,
    },
    /// A whole response.
    Http {
        /// 400 to 599.
        status: u16,
        /// Header lines beside Content-Length, Connection and Date.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
}

impl ErrorReply {
    /// The protocol it is a reply of.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Redis { .. } => Protocol::Redis,
            Self::Postgres { .. } => Protocol::Postgres,
            Self::Http { .. } => Protocol::Http,
        }
    }
}

/// An error reply, or what one is made of when the protocol is known.
#[derive(Debug, Clone, PartialEq)]
pub enum ErrorAction {
    /// A reply of one protocol.
    Reply(Arc<ErrorReply>),
    /// For Redis and for Postgres.
    Coded {
        /// First word of the reply, or SQLSTATE.
        code: String,
        /// The text.
        message: String,
        /// Whether the connection ends after it.
        close: bool,
    },
}

impl ErrorAction {
    /// The reply on this protocol.
    ///
    /// # Errors
    /// It is a reply of another protocol, or the code is none of Postgres's.
    pub fn reply(&self, protocol: Protocol) -> Result<Arc<ErrorReply>, NotApplicable> {
        match (self, protocol) {
            (_, Protocol::Tcp) => Err(NotApplicable {
                field: "action",
                message: "plain TCP has no errors of its own".into(),
                remedy: "use `disconnect`, `stall` or `timeout`".into(),
            }),
            (Self::Reply(reply), protocol) if reply.protocol() == protocol => Ok(Arc::clone(reply)),
            (Self::Reply(reply), protocol) => Err(other_protocol(reply, protocol)),
            (
                Self::Coded {
                    code,
                    message,
                    close,
                },
                Protocol::Redis,
            ) => Ok(Arc::new(ErrorReply::Redis {
                code: code.clone(),
                message: message.clone(),
                close: *close,
            })),
            (
                Self::Coded {
                    code,
                    message,
                    close,
                },
                Protocol::Postgres,
            ) => {
                if !is_sqlstate(code) {
                    return Err(NotApplicable {
                        field: "code",
                        message: format!("`{code}` is not a SQLSTATE"),
                        remedy: "write five digits or capital letters, like \"40001\"".into(),
                    });
                }
                Ok(Arc::new(ErrorReply::Postgres {
                    sqlstate: code.clone(),
                    message: message.clone(),
                    fatal: *close,
                }))
            }
            (Self::Coded { .. }, Protocol::Http) => Err(NotApplicable {
                field: "code",
                message: "an HTTP error has a status, not a code".into(),
                remedy: "write status = 503".into(),
            }),
        }
    }

    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let ways = [
            ("preset", spec.preset.is_some()),
            ("code", spec.code.is_some()),
            ("status", spec.status.is_some()),
        ];
        let mut ways = ways
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name);
        if let (Some(first), Some(second)) = (ways.next(), ways.next()) {
            problems.add(
                second,
                format!("`{first}` and `{second}` name two different replies"),
                format!("leave `{first}` or `{second}` out"),
            );
            return None;
        }
        check_text(spec, problems);
        check_headers(spec, problems);
        check_retry_after(spec, problems);
        match (&spec.preset, &spec.code, spec.status) {
            (Some(name), ..) => from_preset(name, spec, problems),
            (_, Some(code), _) => coded(code, spec, problems),
            (_, _, Some(status)) => http(status, spec, problems),
            (None, None, None) => {
                problems.add(
                    "preset",
                    "`error` needs to know which error",
                    "add `preset`, or `code` and `message` (Redis, Postgres), or `status` (HTTP)",
                );
                None
            }
        }
    }
}

fn other_protocol(reply: &ErrorReply, protocol: Protocol) -> NotApplicable {
    let field = match reply {
        ErrorReply::Http { .. } => "status",
        _ => "preset",
    };
    NotApplicable {
        field,
        message: format!(
            "this is an error of {}, and the proxy speaks {}",
            reply.protocol().name(),
            protocol.name()
        ),
        remedy: format!("use one of the presets {}", listed(preset::names(protocol))),
    }
}

fn from_preset(name: &str, spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<ErrorAction> {
    let Some((_, mut reply)) = preset::find(name) else {
        let remedy = nearest(name, preset::all_names()).map_or_else(
            || {
                let all = [Protocol::Redis, Protocol::Postgres, Protocol::Http];
                format!(
                    "use one of {}",
                    listed(all.into_iter().flat_map(preset::names))
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        problems.add("preset", format!("there is no preset `{name}`"), remedy);
        return None;
    };
    match &mut reply {
        ErrorReply::Redis { message, close, .. }
        | ErrorReply::Postgres {
            message,
            fatal: close,
            ..
        } => {
            reject_http(spec, problems);
            if let Some(text) = &spec.message {
                message.clone_from(text);
            }
            *close = spec.close.unwrap_or(*close);
        }
        ErrorReply::Http { headers, body, .. } => {
            reject_coded(spec, problems);
            if let Some(text) = &spec.body {
                body.clone_from(text);
            }
            for (name, value) in spec.headers.iter().flatten() {
                headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
                headers.push((name.clone(), value.clone()));
            }
            set_retry_after(headers, spec);
        }
    }
    Some(ErrorAction::Reply(Arc::new(reply)))
}

fn coded(code: &str, spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<ErrorAction> {
    reject_http(spec, problems);
    let word = code.bytes().all(|byte| byte.is_ascii_graphic());
    if code.is_empty() || code.len() > 64 || !word {
        problems.add(
            "code",
            "a code is one word of printable ASCII",
            "write a Redis code, like \"LOADING\", or a SQLSTATE, like \"40001\"",
        );
    }
    let Some(message) = &spec.message else {
        problems.missing("message", "`code`", "message = \"...\"");
        return None;
    };
    Some(ErrorAction::Coded {
        code: code.into(),
        message: message.clone(),
        close: spec.close.unwrap_or(false),
    })
}

fn http(status: u16, spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<ErrorAction> {
    reject_coded(spec, problems);
    if !(400..600).contains(&status) {
        problems.add(
            "status",
            format!("{status} is not the status of an error"),
            "write a number between 400 and 599",
        );
        return None;
    }
    let mut headers: Vec<(String, String)> = spec.headers.clone().into_iter().flatten().collect();
    let body = spec.body.clone().unwrap_or_default();
    let typed = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !body.is_empty() && !typed {
        headers.push(("Content-Type".into(), "text/plain; charset=utf-8".into()));
    }
    set_retry_after(&mut headers, spec);
    Some(ErrorAction::Reply(Arc::new(ErrorReply::Http {
        status,
        headers,
        body,
    })))
}

/// Keys of an HTTP reply beside a Redis or Postgres one.
fn reject_http(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let given = [
        ("headers", spec.headers.is_some()),
        ("body", spec.body.is_some()),
        ("retry_after", spec.retry_after.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(
            field,
            format!("only an HTTP error has `{field}`"),
            "leave it out, or write a `status`",
        );
    }
}

/// Keys of a Redis or Postgres reply beside an HTTP one.
fn reject_coded(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let given = [
        ("message", spec.message.is_some()),
        ("close", spec.close.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(
            field,
            format!("an HTTP error has no `{field}`"),
            "leave it out; the text goes into `body`",
        );
    }
}

/// Texts that would break the framing of the reply, or fill memory.
fn check_text(spec: &FaultSpec, problems: &mut Problems<'_>) {
    if let Some(message) = &spec.message {
        if message.is_empty() || message.chars().any(char::is_control) {
            problems.add(
                "message",
                "the message has to be one line of text",
                "leave out line ends and other control characters",
            );
        }
        if message.len() > MAX_MESSAGE {
            problems.add(
                "message",
                "the message is too long",
                format!("write at most {MAX_MESSAGE} bytes"),
            );
        }
    }
    if spec.body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
        problems.add(
            "body",
            "the body is too long",
            format!("write at most {MAX_BODY} bytes"),
        );
    }
}

fn check_headers(spec: &FaultSpec, problems: &mut Problems<'_>) {
    const OURS: [&str; 5] = [
        "content-length",
        "connection",
        "date",
        "transfer-encoding",
        "trailer",
    ];
    for (name, value) in spec.headers.iter().flatten() {
        let field = format!("headers.{name}");
        if name.is_empty() || !name.bytes().all(is_token) {
            problems.add(
                &field,
                "not a header name",
                "write letters, digits and hyphens, like \"Retry-After\"",
            );
        } else if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            problems.add(
                &field,
                format!("`{name}` is set by the reply's own framing"),
                "leave it out",
            );
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            problems.add(
                &field,
                "a header value is one line",
                "leave out line ends and other control characters",
            );
        }
    }
}

/// RFC 9110, 10.2.3: Retry-After counts whole seconds.
fn set_retry_after(headers: &mut Vec<(String, String)>, spec: &FaultSpec) {
    if let Some(after) = spec.retry_after {
        headers.retain(|(name, _)| !is_retry_after(name));
        headers.push(("Retry-After".into(), after.as_secs().to_string()));
    }
}

fn check_retry_after(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let Some(after) = spec.retry_after else {
        return;
    };
    if after.subsec_nanos() != 0 {
        problems.add(
            "retry_after",
            "Retry-After counts whole seconds",
            "write whole seconds, like \"2s\"",
        );
    }
    let mut headers = spec.headers.iter().flatten();
    if headers.any(|(name, _)| is_retry_after(name)) {
        problems.add(
            "retry_after",
            "`headers` has a Retry-After of its own",
            "leave one of the two out",
        );
    }
}

fn is_retry_after(name: &str) -> bool {
    name.eq_ignore_ascii_case("retry-after")
}

/// RFC 9110, 5.6.2: the characters of a token.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

impl Acts for ErrorAction {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::Error(self.reply(protocol)?)))
    }
}
