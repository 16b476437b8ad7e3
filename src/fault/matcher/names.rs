//! Conditions that name what their protocol does not have: nothing would ever meet them.

use super::Matcher;
use crate::config::suggest::nearest;
use crate::fault::glob::Glob;
use crate::fault::problems::listed;
use crate::protocol::catalog::known_operations;
use crate::protocol::http1::{FIXED_ROUTES, METHODS};
use crate::protocol::{Class, Protocol};

/// A condition that nothing on a protocol can meet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::fault) struct Unmet {
    /// Its key.
    pub(in crate::fault) field: &'static str,
    /// Why.
    pub(in crate::fault) message: String,
    /// What would be accepted.
    pub(in crate::fault) remedy: String,
    /// The remedy is a name that is nearly what was written.
    pub(in crate::fault) is_near: bool,
}

impl Unmet {
    /// A name that the protocol does not have, among those that it has.
    fn unknown(field: &'static str, name: &str, protocol: Protocol, known: &[&str]) -> Self {
        let near = nearest(name, known.iter().copied());
        let remedy = match (near, protocol) {
            (Some(near), Protocol::Redis) => {
                format!("did you mean `{near}`? Commands of modules are `other`")
            }
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Protocol::Redis) => {
                "write a command as `brownout stats` shows it; those of modules are `other`".into()
            }
            (None, _) => "write one that `brownout stats` shows, or a glob".into(),
        };
        Self {
            field,
            message: format!("{} has no `{name}`", protocol.name()),
            remedy,
            is_near: near.is_some(),
        }
    }
}

impl Matcher {
    /// A condition of a kind that this protocol knows, but with a value that it does not have. Of several values one is enough.
    pub(in crate::fault) fn unmet_on(&self, protocol: Protocol) -> Option<Unmet> {
        match protocol {
            Protocol::Redis | Protocol::Postgres => self.unmet_operation(protocol),
            Protocol::Http => self
                .unmet_route()
                .or_else(|| self.unmet_method())
                .or_else(|| self.unmet_class()),
            Protocol::Tcp => None,
        }
    }

    fn unmet_operation(&self, protocol: Protocol) -> Option<Unmet> {
        let known = known_operations(protocol);
        let meant = |name: &str| super::any(&self.operations, name.as_bytes());
        let meant: Vec<&(&str, Class)> = known.iter().filter(|(name, _)| meant(name)).collect();
        if let (Some(first), []) = (self.operations.first(), &meant[..]) {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let (field, name) = ("match.operation", first.as_str());
            return Some(Unmet::unknown(field, name, protocol, &names));
        }
        let has = |(name, usual): &(&str, Class)| {
            let mut wanted = self.classes.iter();
            wanted.any(|class| class == usual || may_be(protocol, name, *class))
        };
        if self.classes.is_empty() || meant.iter().any(|row| has(row)) {
            return None;
        }
        let mut classes: Vec<&str> = meant.iter().map(|(_, class)| class.name()).collect();
        classes.sort_unstable();
        classes.dedup();
        let what = match self.operations.first() {
            Some(first) => format!("`{}`", first.as_str()),
            None => protocol.name().to_owned(),
        };
        Some(Unmet {
            field: "match.class",
            message: format!("{what} is never `{}`", self.classes[0].name()),
            remedy: format!("leave it out, or write {}", listed(classes.into_iter())),
            is_near: false,
        })
    }

    fn unmet_route(&self) -> Option<Unmet> {
        let possible = |glob: &Glob| {
            glob.as_str().starts_with(['/', '*', '?', '['])
                || FIXED_ROUTES
                    .iter()
                    .any(|route| glob.matches(route.as_bytes()))
        };
        let first = self.routes.first()?;
        (!self.routes.iter().any(possible)).then(|| Unmet {
            field: "match.route",
            message: format!("`{}` is no route: one begins with `/`", first.as_str()),
            remedy: format!("write \"/{}\"", first.as_str()),
            is_near: false,
        })
    }

    fn unmet_class(&self) -> Option<Unmet> {
        // Of a method: GET reads, POST writes, CONNECT is neither.
        let of_http = |class: &Class| matches!(class, Class::Read | Class::Write | Class::Admin);
        let first = self.classes.first()?;
        (!self.classes.iter().any(of_http)).then(|| Unmet {
            field: "match.class",
            message: format!("http is never `{}`", first.name()),
            remedy: "leave it out, or write `read` or `write`".into(),
            is_near: false,
        })
    }

    fn unmet_method(&self) -> Option<Unmet> {
        let known = |method: &str| METHODS.iter().any(|m| m.eq_ignore_ascii_case(method));
        if let Some(first) = self.methods.first()
            && !self.methods.iter().any(|method| known(method))
        {
            let unmet = Unmet::unknown("match.method", first, Protocol::Http, &METHODS);
            if unmet.is_near {
                return Some(unmet);
            }
            let remedy =
                "write \"other\": those beyond RFC 9110 and PATCH are not told apart".into();
            return Some(Unmet { remedy, ..unmet });
        }
        let possible = |glob: &Glob| glob.as_str().contains([' ', '*', '?', '[']);
        let first = self.operations.first()?;
        (!self.operations.iter().any(possible)).then(|| Unmet {
            field: "match.operation",
            message: format!(
                "`{}` is no operation of http: one is a method and a route",
                first.as_str()
            ),
            remedy: "write it like \"GET /modules/{id}\" or \"GET *\"".into(),
            is_near: false,
        })
    }
}

/// Whether a decoder may say so of an exchange, although the operation is usually of another class.
fn may_be(protocol: Protocol, name: &str, class: Class) -> bool {
    match protocol {
        // With BLOCK.
        Protocol::Redis => class == Class::Blocking && name.starts_with("XREAD"),
        // A WITH that writes, COPY FROM, EXPLAIN ANALYZE of a write.
        Protocol::Postgres => {
            class == Class::Write
                && matches!(
                    name,
                    "SELECT"
                        | "VALUES"
                        | "TABLE"
                        | "COPY"
                        | "EXPLAIN"
                        | "MERGE"
                        | "PREPARE"
                        | "DECLARE"
                        | "other"
                )
        }
        Protocol::Http | Protocol::Tcp => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::spec::FieldError;
    use crate::fault::{Fault, FaultSpec};

    fn compile(toml: &str) -> Result<Fault, Vec<FieldError>> {
        let spec: FaultSpec = toml::from_str(toml).unwrap_or_else(|e| panic!("{toml}: {e}"));
        spec.compile("")
    }

    /// Why a `match` means nothing on a protocol.
    fn refused(protocol: Protocol, matching: &str) -> Option<(String, String)> {
        let fault = compile(&format!("action = 'stall'\nmatch = {{ {matching} }}"));
        let error = match fault {
            Ok(fault) => fault.applies_to(protocol).err()?,
            Err(errors) => errors.into_iter().next()?,
        };
        Some((error.path, error.remedy))
    }

    #[test]
    fn a_name_that_its_protocol_does_not_have_is_refused_with_the_nearest() {
        use Protocol::{Http, Postgres, Redis};
        for (protocol, matching, field, remedy) in [
            (
                Postgres,
                "operation = 'COMIT'",
                "match.operation",
                "did you mean `COMMIT`?",
            ),
            (
                Redis,
                "operation = 'GTE'",
                "match.operation",
                "did you mean `GET`?",
            ),
            (
                Redis,
                "operation = 'FT.SEARCH'",
                "match.operation",
                "`other`",
            ),
            (
                Redis,
                "operation = 'GET', class = 'write'",
                "match.class",
                "write `read`",
            ),
            (
                Postgres,
                "class = 'blocking'",
                "match.class",
                "leave it out",
            ),
            (
                Postgres,
                "operation = 'INSERT', class = 'read'",
                "match.class",
                "write `write`",
            ),
            (
                Http,
                "route = 'modules'",
                "match.route",
                "write \"/modules\"",
            ),
            (
                Http,
                "method = 'PSOT'",
                "match.method",
                "did you mean `POST`?",
            ),
            (
                Http,
                "method = 'PROPFIND'",
                "match.method",
                "write \"other\"",
            ),
            (
                Http,
                "operation = 'GET'",
                "match.operation",
                "GET /modules/{id}",
            ),
            (Http, "class = 'pubsub'", "match.class", "leave it out"),
        ] {
            let Some((path, said)) = refused(protocol, matching) else {
                panic!("{matching} was taken");
            };
            assert_eq!(path, field, "{matching}");
            assert!(said.contains(remedy), "{matching}: {said}");
        }
    }

    #[test]
    fn what_its_protocol_has_is_taken() {
        use Protocol::{Http, Postgres, Redis};
        for (protocol, matching) in [
            (Postgres, "operation = 'commit'"),
            (Postgres, "operation = ['GET', 'SELECT']"),
            (Postgres, "operation = 'ROLLBACK*'"),
            (Postgres, "operation = 'SELECT', class = 'write'"),
            (Postgres, "operation = 'COPY', class = 'write'"),
            (Redis, "operation = 'config|get'"),
            (Redis, "operation = 'other'"),
            (Redis, "operation = 'XREAD', class = 'blocking'"),
            (Redis, "class = ['transaction', 'pubsub']"),
            (Http, "method = 'get'"),
            (Http, "method = 'other'"),
            (Http, "route = ['/a', 'b']"),
            (Http, "route = '*'"),
            (Http, "route = '{authority}'"),
            (Http, "operation = 'POST *'"),
            (Http, "operation = '*'"),
        ] {
            assert_eq!(refused(protocol, matching), None, "{matching}");
        }
    }

    #[test]
    fn what_no_protocol_can_meet_is_refused_as_it_is_written() {
        for (toml, field, remedy) in [
            (
                "action = 'error'\npreset = 'OOM'\nmatch = { sql = 'x' }",
                "match.sql",
                "leave it out for a proxy that speaks redis",
            ),
            (
                "action = 'stall'\nmatch = { operation = 'COMIT' }",
                "match.operation",
                "did you mean `COMMIT`?",
            ),
            (
                "action = 'duplicate_request'\nmatch = { class = 'transaction' }",
                "match.class",
                "write `read`",
            ),
            (
                "action = 'stall'\nschedule = { start = '15m' }",
                "schedule.start",
                "add a `ttl` above it",
            ),
        ] {
            let errors = compile(toml).unwrap_err();
            assert_eq!(errors.len(), 1, "{toml}: {errors:?}");
            assert_eq!(errors[0].path, field, "{toml}");
            assert!(errors[0].remedy.contains(remedy), "{toml}: {errors:?}");
        }
    }
}
