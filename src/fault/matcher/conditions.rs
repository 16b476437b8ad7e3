//! The conditions of a matcher one by one, for people to read.

use super::Matcher;
use crate::fault::explain::{Case, Step};
use crate::fault::glob::Glob;
use crate::protocol::postgres::Table;

/// One of these is wanted.
fn wanted<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = all.map(|one| format!("`{one}`")).collect();
    all.join(" or ")
}

/// These were found.
fn found<'a>(all: impl Iterator<Item = &'a [u8]>) -> String {
    let all: Vec<String> = all
        .map(|one| format!("`{}`", String::from_utf8_lossy(one)))
        .collect();
    if all.is_empty() {
        "nothing".into()
    } else {
        all.join(", ")
    }
}

/// The names of globs.
fn names(globs: &[Glob]) -> String {
    wanted(globs.iter().map(Glob::as_str))
}

/// A condition that is given, and whether it is met.
fn add(
    steps: &mut Vec<Step>,
    field: &str,
    given: bool,
    holds: bool,
    wanted: impl std::fmt::Display,
    found: impl std::fmt::Display,
) {
    if given {
        steps.push(Step {
            asked: format!("match.{field}"),
            holds,
            because: format!("wants {wanted}, found {found}"),
        });
    }
}

impl Matcher {
    /// Each condition that is given, and whether this exchange meets it.
    pub(in crate::fault) fn conditions(&self, case: &mut Case<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        self.of_operation(case, &mut steps);
        self.of_session(case, &mut steps);
        self.of_request(case, &mut steps);
        steps
    }

    /// What depends on the operation alone.
    fn of_operation(&self, case: &Case<'_>, steps: &mut Vec<Step>) {
        let only = |of: Self, holds: &dyn Fn(&Self) -> bool| holds(&of);
        let (operation, class) = (case.operation, case.class);
        let (method, route) = operation.split_once(' ').unwrap_or((operation, ""));
        let covers = |of: &Self| of.covers(operation, class);
        let text = |text: &str| found(std::iter::once(text.as_bytes()));

        let part = Self {
            operations: self.operations.clone(),
            ..Self::default()
        };
        let holds = only(part, &covers);
        add(
            steps,
            "operation",
            !self.operations.is_empty(),
            holds,
            names(&self.operations),
            text(operation),
        );
        let part = Self {
            classes: self.classes.clone(),
            ..Self::default()
        };
        let classes = wanted(self.classes.iter().map(|class| class.name()));
        add(
            steps,
            "class",
            !self.classes.is_empty(),
            only(part, &covers),
            classes,
            text(class.name()),
        );
        let part = Self {
            routes: self.routes.clone(),
            ..Self::default()
        };
        add(
            steps,
            "route",
            !self.routes.is_empty(),
            only(part, &covers),
            names(&self.routes),
            text(route),
        );
        let part = Self {
            methods: self.methods.clone(),
            ..Self::default()
        };
        let methods = wanted(self.methods.iter().map(String::as_str));
        add(
            steps,
            "method",
            !self.methods.is_empty(),
            only(part, &covers),
            methods,
            text(method),
        );
    }

    /// What depends on the session.
    fn of_session(&self, case: &mut Case<'_>, steps: &mut Vec<Step>) {
        let clients: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
        let client = case
            .client
            .map_or_else(|| "no address".into(), |address| format!("`{address}`"));
        add(
            steps,
            "client",
            !self.clients.is_empty(),
            self.takes_client(case.client),
            wanted(clients.iter().map(String::as_str)),
            client,
        );
        let request = &mut case.request;
        for (field, globs, value) in [
            ("database", &self.databases, request.database()),
            ("user", &self.users, request.user()),
            (
                "application_name",
                &self.applications,
                request.application_name(),
            ),
            ("client_name", &self.names, request.client_name()),
        ] {
            let holds = super::any(globs, value);
            add(
                steps,
                field,
                !globs.is_empty(),
                holds,
                names(globs),
                found(std::iter::once(value)),
            );
        }
    }

    /// What depends on the request.
    fn of_request(&self, case: &mut Case<'_>, steps: &mut Vec<Step>) {
        let request = &mut case.request;
        let keys = found(request.keys().iter().copied());
        add(
            steps,
            "key",
            !self.keys.is_empty(),
            self.takes_key(request),
            names(&self.keys),
            keys,
        );
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value.as_str()))
            .collect();
        let lines: Vec<String> = request
            .headers()
            .iter()
            .map(|line| format!("{}: {}", line.name, String::from_utf8_lossy(line.value)))
            .collect();
        add(
            steps,
            "header",
            !self.headers.is_empty(),
            self.takes_header(request),
            wanted(headers.iter().map(String::as_str)),
            found(lines.iter().map(String::as_bytes)),
        );
        let statement = request.statement();
        let sql = statement.map_or(&b""[..], |s| s.text());
        let takes = statement.is_some() && self.sql.iter().any(|re| re.is_match(sql));
        let patterns = wanted(self.sql.iter().map(regex::bytes::Regex::as_str));
        add(
            steps,
            "sql",
            !self.sql.is_empty(),
            takes,
            patterns,
            found(statement.map(|_| sql).into_iter()),
        );
        let tables = statement.map_or(&[][..], |s| s.tables());
        let takes = tables.iter().any(|table| self.takes_table(table));
        let tables = found(tables.iter().map(Table::full));
        add(
            steps,
            "table",
            !self.tables.is_empty(),
            takes,
            names(&self.tables),
            tables,
        );
    }
}
