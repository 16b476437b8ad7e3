//! The OpenAPI 3.1 document, made of the table of routes: what is answered is what is described.

use super::super::body::{Answer, json};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Route};
use super::routes;
use hyper::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[Route::get(
    "/v1/openapi.json",
    "getOpenapi",
    "This document.",
    &[(200, Content::Json(|_| json_schema!({ "type": "object" })))],
    Handler::Now(show),
)];

/// What every route may answer beside its own: the guards come first.
const ALWAYS: &[u16] = &[400, 401, 403];
/// What every change may answer: too large, too slow, no JSON, too many, no audit log.
const CHANGES: &[u16] = &[408, 413, 415, 429, 503];

fn show(_: &Context, _: &Call, _: &str) -> Result<Answer, Problem> {
    Ok(json(StatusCode::OK, &document()))
}

/// The whole document.
pub(crate) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes() {
        let path = route.path.replace("{name*}", "{name}");
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.to_lowercase()] = operation(route, &mut generator);
    }
    // Used by every route, through one shared response.
    let problem = generator.subschema_for::<Problem>();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "brownout",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin endpoint: proxies, faults, profiles, figures and events. Errors are problem documents (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8474" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "What is wrong, and with which field.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.about,
        "description": format!("Takes the role `{}` where tokens are needed.", route.role.name()),
        "parameters": parameters(route, generator),
        "responses": responses(route, generator),
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": body(generator) } },
        });
    }
    operation
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = Vec::new();
    if route.path.contains('{') {
        parameters.push(json!({
            "name": "name", "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 256 },
        }));
    }
    for query in route.query {
        parameters.push(json!({
            "name": query.name, "in": "query", "description": query.about,
            "schema": (query.schema)(generator),
        }));
    }
    if route.conditional {
        for (name, about) in [
            (
                "If-Match",
                "Only if it is as it was when it had this ETag; `*`: only if it is there.",
            ),
            ("If-None-Match", "`*`: only if it is not there."),
        ] {
            parameters.push(json!({
                "name": name, "in": "header", "description": about, "schema": { "type": "string" },
            }));
        }
    }
    if route.path == "/v1/events" {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "description": "The number of the last event that was seen.",
            "schema": { "type": "integer", "minimum": 0 },
        }));
    }
    parameters.into()
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, content) in route.answers {
        let mut response = json!({ "description": "Done." });
        match content {
            Content::Empty => {}
            Content::Json(schema) => {
                response["content"] =
                    json!({ "application/json": { "schema": schema(generator) } });
            }
            Content::Events(schema) => {
                response["content"] = json!({
                    "text/event-stream": { "schema": { "type": "string", "x-event-data": schema(generator) } },
                });
            }
        }
        if route.conditional && *status != 204 {
            response["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
        }
        responses.insert(status.to_string(), response);
    }
    let changes: &[u16] = if route.method == "GET" { &[] } else { CHANGES };
    for status in ALWAYS.iter().chain(changes).chain(route.refusals) {
        let problem = json!({ "$ref": "#/components/responses/Problem" });
        responses.entry(status.to_string()).or_insert(problem);
    }
    responses.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_in_the_repository_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(
            kept == document(),
            "openapi.json is not what the code makes; write it anew with: cargo run -- schema openapi > openapi.json"
        );
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_route_is_named_once() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let mut ids: Vec<&str> = routes().map(|r| r.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
