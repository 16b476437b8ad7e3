//! Pages of a list: `limit` entries behind the one named `after`, in the order of names.

use super::super::problem::Problem;
use super::super::router::Call;
use super::route::Query;
use schemars::json_schema;

/// The most entries of one page.
const MOST: usize = 1_000;

/// The parameters, as they are described.
pub(super) const QUERY: &[Query] = &[
    Query {
        name: "limit",
        about: "At most so many, in the order of names. Default: all.",
        schema: |_| json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST }),
    },
    Query {
        name: "after",
        about: "Only names behind this one: the `next` of the page before.",
        schema: |_| json_schema!({ "type": "string", "minLength": 1, "maxLength": 256 }),
    },
];

/// The page that was asked for, and the name to go on after, where there are more. Unasked, everything in its own order.
///
/// # Errors
/// 400 with the parameter.
pub(super) fn page<T>(
    call: &Call,
    mut all: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let after = call.parameter("after");
    if after.is_some_and(|a| a.is_empty() || a.len() > 256) {
        return Err(Problem::bad("`after` is a name").field("after"));
    }
    let limit = match call.parameter("limit").map(str::parse::<usize>) {
        None => None,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => Some(limit),
        Some(_) => return Err(Problem::bad(format!("`limit` is 1 to {MOST}")).field("limit")),
    };
    if limit.is_none() && after.is_none() {
        return Ok((all, None));
    }
    all.sort_by(|a, b| name(a).cmp(name(b)));
    all.retain(|one| after.is_none_or(|after| name(one) > after));
    let more = limit.is_some_and(|limit| all.len() > limit);
    all.truncate(limit.unwrap_or(usize::MAX));
    let next = all.last().filter(|_| more).map(|one| name(one).to_owned());
    Ok((all, next))
}
