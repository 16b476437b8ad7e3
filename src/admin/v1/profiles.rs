//! `/v1/profiles`. A name may have folders in it: `redis/slow`.

use super::super::auth::Role;
use super::super::body::{self, Answer, json, parse};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::page;
use super::route::{Content, Handler, Route};
use crate::config::duration;
use crate::fault::FaultSpec;
use crate::proxy::ControlError;
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A profile as it is listed.
#[derive(Debug, Serialize, JsonSchema)]
struct ProfileEntry {
    /// Its name.
    name: String,
    /// What it does.
    description: String,
    /// How many faults it has.
    faults: usize,
    /// Whether something of it is on.
    enabled: bool,
}

/// A file that is no profile.
#[derive(Debug, Serialize, JsonSchema)]
struct BrokenProfile {
    /// What it would be called.
    name: String,
    /// What is wrong with it.
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    problems: crate::config::Problems,
}

/// Some profiles.
#[derive(Debug, Serialize, JsonSchema)]
struct Profiles {
    /// In the order of names.
    profiles: Vec<ProfileEntry>,
    /// Those that cannot be used.
    broken: Vec<BrokenProfile>,
    /// The name to go on after, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A whole profile.
#[derive(Debug, Serialize, JsonSchema)]
struct Profile {
    /// Its name.
    name: String,
    /// What it does.
    description: String,
    /// Whether something of it is on.
    enabled: bool,
    /// The seed of its draws.
    seed: Option<u64>,
    /// Its faults.
    faults: Vec<FaultSpec>,
    /// Its file.
    source: String,
}

/// What enabling a profile may say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Enable {
    /// How long it stays on. Default: as its faults say, else 15 minutes; at most 12 hours.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    ttl: Option<Duration>,
    /// Seed of the draws of its faults.
    seed: Option<u64>,
}

/// What was switched.
#[derive(Debug, Serialize, JsonSchema)]
struct Switched {
    /// The profile.
    profile: String,
    /// Whether it is on now.
    enabled: bool,
    /// The names of its faults.
    #[schemars(with = "Vec<String>")]
    faults: Vec<Arc<str>>,
}

const SWITCHED: Content = Content::Json(schemars::SchemaGenerator::subschema_for::<Switched>);

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        query: page::QUERY,
        ..Route::get(
            "/v1/profiles",
            "listProfiles",
            "The profiles at hand, read anew from their folder.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Profiles>),
            )],
            Handler::Now(list),
        )
    },
    Route {
        refusals: &[404, 422],
        ..Route::get(
            "/v1/profiles/{name*}",
            "getProfile",
            "One profile.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Profile>),
            )],
            Handler::Now(show),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        body: Some(schemars::SchemaGenerator::subschema_for::<Enable>),
        refusals: &[404, 409, 422],
        ..Route::get(
            "/v1/profiles/{name*}/enable",
            "enableProfile",
            "Switches a profile on, all of it or nothing. One that is on begins anew.",
            &[(200, SWITCHED)],
            Handler::Now(enable),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        refusals: &[404],
        ..Route::get(
            "/v1/profiles/{name*}/disable",
            "disableProfile",
            "Switches off what is left of a profile.",
            &[(200, SWITCHED)],
            Handler::Now(disable),
        )
    },
];

fn list(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    let library = cx.server.library()?;
    let on = cx.server.enabled_profiles();
    let all = library.iter().map(|p| ProfileEntry {
        name: p.name.clone(),
        description: p.summary().into(),
        faults: p.faults.len(),
        enabled: on.iter().any(|name| **name == *p.name),
    });
    let (profiles, next) = page::page(call, all.collect(), |p| &p.name)?;
    let broken = library.broken().iter().map(|b| BrokenProfile {
        name: b.name.clone(),
        problems: b.problems.clone(),
    });
    let shown = Profiles {
        profiles,
        broken: broken.collect(),
        next,
    };
    Ok(json(StatusCode::OK, &shown))
}

fn show(cx: &Context, _: &Call, name: &str) -> Result<Answer, Problem> {
    let library = cx.server.library()?;
    let profile = library.get(name).map_err(ControlError::Profile)?;
    let faults = profile.faults.iter().map(|f| (**f.spec()).clone());
    let mut on = cx.server.enabled_profiles().into_iter();
    let shown = Profile {
        name: profile.name.clone(),
        description: profile.description.clone(),
        enabled: on.any(|on| *on == *profile.name),
        seed: profile.seed,
        faults: faults.collect(),
        source: profile.source.to_string(),
    };
    Ok(json(StatusCode::OK, &shown))
}

fn enable(cx: &Context, call: &Call, name: &str) -> Result<Answer, Problem> {
    let Enable { ttl, seed } = parse(&call.body)?;
    let faults = cx.server.enable_profile(name, ttl, seed)?;
    Ok(switched(name, true, faults))
}

fn disable(cx: &Context, call: &Call, name: &str) -> Result<Answer, Problem> {
    body::nothing(&call.body)?;
    let faults = cx.server.disable_profile(name)?;
    Ok(switched(name, false, faults))
}

fn switched(profile: &str, enabled: bool, faults: Vec<Arc<str>>) -> Answer {
    let profile = profile.to_owned();
    json(
        StatusCode::OK,
        &Switched {
            profile,
            enabled,
            faults,
        },
    )
}
