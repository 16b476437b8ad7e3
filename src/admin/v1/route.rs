//! What a route is: all that dispatch, guards and the OpenAPI document have to know of it.

use super::super::auth::Role;
use super::super::body::Answer;
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use futures_util::future::BoxFuture;
use schemars::{Schema, SchemaGenerator};

/// A schema, when it is asked for.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// An answer that waits for something.
pub(super) type Later<'a> = BoxFuture<'a, Result<Answer, Problem>>;

/// What answers. The last argument is what the braces of the path stand for.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// At once.
    Now(fn(&Context, &Call, &str) -> Result<Answer, Problem>),
    /// After waiting.
    Later(for<'a> fn(&'a Context, &'a Call, &'a str) -> Later<'a>),
}

/// A query parameter.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
}

/// What comes back when all is well.
pub(super) enum Content {
    /// Nothing.
    Empty,
    /// JSON.
    Json(SchemaOf),
    /// Server-sent events, each of which has data in JSON.
    Events(SchemaOf),
}

/// One method of one path.
pub(in super::super) struct Route {
    pub(super) method: &'static str,
    /// With at most one `{name}`. Where a name may have slashes in it, it is written `{name*}`.
    pub(super) path: &'static str,
    /// Its name in the document.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    /// Who may ask.
    pub(in super::super) role: Role,
    pub(super) query: &'static [Query],
    /// Whether it heeds If-Match.
    pub(super) conditional: bool,
    pub(super) body: Option<SchemaOf>,
    /// Status and content where all is well.
    pub(super) answers: &'static [(u16, Content)],
    /// What can be refused, beside what can be on every route.
    pub(super) refusals: &'static [u16],
    pub(super) handler: Handler,
}

/// A route that fits a path.
pub(in super::super) struct Found {
    pub(in super::super) route: &'static Route,
    /// What the braces stand for; empty where there are none.
    pub(in super::super) name: String,
}

impl Route {
    /// A route that only reads.
    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        answers: &'static [(u16, Content)],
        handler: Handler,
    ) -> Self {
        Self {
            method: "GET",
            path,
            id,
            about,
            role: Role::Read,
            query: &[],
            conditional: false,
            body: None,
            answers,
            refusals: &[],
            handler,
        }
    }

    /// Whether it stops something rather than starting it. Such a thing is done even where it cannot be recorded.
    pub(in super::super) fn stops(&self) -> bool {
        self.method == "DELETE" || self.path.ends_with("/disable") || self.halts()
    }

    /// Whether it is the way to switch everything off, which no limit on rates may bar.
    pub(in super::super) fn halts(&self) -> bool {
        self.path == "/v1/halt"
    }

    pub(super) fn literals(&self) -> usize {
        let segments = self.path.split('/');
        segments
            .filter(|s| !s.is_empty() && !s.starts_with('{'))
            .count()
    }

    /// What its braces stand for in a path, if it fits.
    pub(super) fn at(&'static self, path: &[String]) -> Option<Found> {
        let wanted: Vec<&str> = self.path.split('/').filter(|s| !s.is_empty()).collect();
        let mut name = String::new();
        let braces = wanted.iter().position(|s| s.starts_with('{'));
        let more = match braces {
            Some(at) if wanted[at] == "{name*}" => path.len().checked_sub(wanted.len())?,
            _ if path.len() == wanted.len() => 0,
            _ => return None,
        };
        let mut given = path.iter();
        for segment in wanted {
            if segment.starts_with('{') {
                let taken: Vec<&str> = given.by_ref().take(1 + more).map(String::as_str).collect();
                name = taken.join("/");
            } else if given.next()? != segment {
                return None;
            }
        }
        Some(Found { route: self, name })
    }
}
