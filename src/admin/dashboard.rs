//! The page at `/`: what a running `brownout` does, live, with the switches of its profiles.
//!
//! It is the same for everybody and tells nothing, so no token is asked for it; all that it shows it asks of `/v1`, with the
//! token that its user gives it. Nothing is in it that runs but its one script, nothing can frame it, and it can send nothing
//! elsewhere (Content Security Policy, level 3).

use super::body::{Answer, with_type};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

/// Sent with every part of it. Trusted Types: text can never become markup, not even by a mistake in the script.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// A part of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Page,
    Script,
    Style,
}

impl Part {
    /// The part at a path.
    pub(super) fn at(path: &[&str]) -> Option<Self> {
        match path {
            [] => Some(Self::Page),
            ["dashboard.js"] => Some(Self::Script),
            ["dashboard.css"] => Some(Self::Style),
            _ => None,
        }
    }

    /// As it is sent.
    pub(super) fn answer(self) -> Answer {
        let (text, kind) = match self {
            Self::Page => (
                include_str!("dashboard/dashboard.html"),
                "text/html; charset=utf-8",
            ),
            Self::Script => (
                include_str!("dashboard/dashboard.js"),
                "text/javascript; charset=utf-8",
            ),
            Self::Style => (
                include_str!("dashboard/dashboard.css"),
                "text/css; charset=utf-8",
            ),
        };
        let mut answer = with_type(StatusCode::OK, Bytes::from_static(text.as_bytes()), kind);
        for (name, value) in HEADERS {
            answer.headers_mut().insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_sent_with_what_confines_it() {
        for (path, kind) in [
            (&[][..], "text/html"),
            (&["dashboard.js"][..], "text/javascript"),
            (&["dashboard.css"][..], "text/css"),
        ] {
            let answer = Part::at(path).expect("a part").answer();
            let header = |name| answer.headers()[name].to_str().expect("text");
            assert!(header("content-type").starts_with(kind));
            assert_eq!(header("x-content-type-options"), "nosniff");
            let policy = header("content-security-policy");
            for part in ["default-src 'none'", "frame-ancestors 'none'"] {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(Part::at(&["dashboard"]), None);
        assert_eq!(Part::at(&["dashboard.js", "x"]), None);
    }

    #[test]
    fn nothing_stands_in_it_that_its_policy_forbids_or_that_leads_elsewhere() {
        let html = include_str!("dashboard/dashboard.html");
        let script = include_str!("dashboard/dashboard.js");
        let style = include_str!("dashboard/dashboard.css");
        for text in [html, script, style] {
            assert!(!text.contains("http:") && !text.contains("https:"));
        }
        for inline in [" style=", "<style", "onclick", "javascript:", "<script>"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for unsafe_way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "localStorage",
            "document.cookie",
        ] {
            assert!(!script.contains(unsafe_way), "{unsafe_way}");
        }
    }
}
