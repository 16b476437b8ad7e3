//! `/v1/faults`.

use super::super::auth::Role;
use super::super::body::{self, Answer, empty, json, parse};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::ledger::{number, wrong};
use super::route::{Content, Handler, Query, Route};
use super::{etag, page};
use crate::fault::FaultSpec;
use crate::fault::store::Listed;
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// Some faults.
#[derive(Debug, Serialize, JsonSchema)]
struct Faults {
    /// Whether everything is kept off.
    halted: bool,
    /// Those that are on, in the order of enabling; pages are in the order of names.
    faults: Vec<Listed>,
    /// The name to go on after, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

const SHOWN: Content = Content::Json(schemars::SchemaGenerator::subschema_for::<Listed>);

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        query: page::QUERY,
        ..Route::get(
            "/v1/faults",
            "listFaults",
            "The faults that are on.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Faults>),
            )],
            Handler::Now(list),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        body: Some(schemars::SchemaGenerator::subschema_for::<FaultSpec>),
        refusals: &[409, 422],
        ..Route::get(
            "/v1/faults",
            "createFault",
            "Switches a fault on.",
            &[(201, SHOWN)],
            Handler::Now(create),
        )
    },
    Route {
        refusals: &[404],
        query: &[
            Query {
                name: "proxy",
                about: "With `session`: whether that session of this proxy is hit, where that is settled (`answer`).",
                schema: |g| g.subschema_for::<String>(),
            },
            Query {
                name: "session",
                about: "Ordinal of the session on its proxy, from 0.",
                schema: |g| g.subschema_for::<u64>(),
            },
        ],
        ..Route::get(
            "/v1/faults/{name}",
            "getFault",
            "One fault that is on.",
            &[(200, SHOWN)],
            Handler::Now(show),
        )
    },
    Route {
        method: "PUT",
        role: Role::Operate,
        conditional: true,
        body: Some(schemars::SchemaGenerator::subschema_for::<FaultSpec>),
        refusals: &[409, 412, 422],
        ..Route::get(
            "/v1/faults/{name}",
            "putFault",
            "Switches a fault on, in place of the one of that name if there is one; its time to live and its gates begin anew.",
            &[(200, SHOWN), (201, SHOWN)],
            Handler::Now(put),
        )
    },
    Route {
        method: "DELETE",
        role: Role::Operate,
        conditional: true,
        refusals: &[404, 412],
        ..Route::get(
            "/v1/faults/{name}",
            "deleteFault",
            "Switches a fault off.",
            &[(204, Content::Empty)],
            Handler::Now(delete),
        )
    },
];

/// The tag of a fault: what it is, not what it did.
fn tag(fault: &Listed) -> String {
    etag::of(&(&fault.name, &fault.profile, &fault.fault))
}

fn shown(status: StatusCode, fault: &Listed) -> Answer {
    etag::tagged(status, fault, &tag(fault))
}

fn find(cx: &Context, name: &str) -> Option<Listed> {
    cx.server.faults().into_iter().find(|f| f.name == name)
}

fn list(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    let (faults, next) = page::page(call, cx.server.faults(), |f| &f.name)?;
    let halted = cx.server.is_halted();
    Ok(json(
        StatusCode::OK,
        &Faults {
            halted,
            faults,
            next,
        },
    ))
}

fn create(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    let spec: FaultSpec = parse(&call.body)?;
    Ok(shown(
        StatusCode::CREATED,
        &cx.server.add_fault(&spec, None)?,
    ))
}

fn show(cx: &Context, call: &Call, name: &str) -> Result<Answer, Problem> {
    let session = number(call, "session", 0..=u64::MAX)?;
    let found = match (call.parameter("proxy"), session) {
        (Some(proxy), Some(session)) => cx.server.fault_for(name, (proxy, session)),
        (None, None) => find(cx, name),
        (_, None) => return Err(wrong("session", "it belongs to proxy: give both or none")),
        (None, _) => return Err(wrong("proxy", "it belongs to session: give both or none")),
    };
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(shown(StatusCode::OK, &found))
}

fn put(cx: &Context, call: &Call, name: &str) -> Result<Answer, Problem> {
    let now = find(cx, name);
    etag::check(call, now.as_ref().map(tag).as_deref())?;
    let mut spec: FaultSpec = parse(&call.body)?;
    if spec.name.get_or_insert_with(|| name.into()) != name {
        let detail = "a fault keeps its name; it is that of the path";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).field("name"));
    }
    let (status, put) = match now {
        Some(_) => (StatusCode::OK, cx.server.replace_fault(name, &spec, None)?),
        None => (StatusCode::CREATED, cx.server.add_fault(&spec, None)?),
    };
    Ok(shown(status, &put))
}

fn delete(cx: &Context, call: &Call, name: &str) -> Result<Answer, Problem> {
    body::nothing(&call.body)?;
    etag::check(call, find(cx, name).as_ref().map(tag).as_deref())?;
    cx.server.remove_fault(name)?;
    Ok(empty(StatusCode::NO_CONTENT))
}
