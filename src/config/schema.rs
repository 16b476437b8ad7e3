//! JSON Schema (draft 2020-12) of the files, for editors and CI. Descriptions are the doc comments of the types that read them.

use super::file::{File, ProxyTable};
use crate::fault::FaultSpec;
use crate::verify::written::{
    ExpectTable, GuardTable, Loads, PhaseTable, ServiceTable, WatchTable,
};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};

/// A profile: faults, and what `brownout test` does with them.
#[derive(JsonSchema)]
#[schemars(title = "profile", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "only its schema is used; profiles are read piece by piece"
)]
struct ProfileFile {
    /// What it is for. Default: the comment at the top of the file.
    description: Option<String>,
    /// Seed of its faults that have none of their own.
    seed: Option<u64>,
    /// The faults.
    #[serde(default)]
    #[schemars(length(max = 256))]
    fault: Vec<FaultSpec>,
    /// What is known of the service; only `brownout test` reads it.
    service: Option<ServiceTable>,
    /// Proxies of a test, beside those of its configuration; only `brownout test` reads them.
    #[schemars(length(max = 256))]
    proxy: Option<Vec<ProxyTable>>,
    /// The load of a test, or "external": others make it; only `brownout test` reads it.
    load: Option<Loads>,
    /// The phases of a test; only `brownout test` reads them.
    #[schemars(length(max = 64))]
    phase: Option<Vec<PhaseTable>>,
    /// What a test expects; only `brownout test` reads it.
    #[schemars(length(max = 256))]
    expect: Option<Vec<ExpectTable>>,
    /// When a test stops early; only `brownout test` reads it.
    #[schemars(length(max = 64))]
    guard: Option<Vec<GuardTable>>,
    /// What a test observes; only `brownout test` reads it.
    #[schemars(length(max = 64))]
    watch: Option<Vec<WatchTable>>,
}

/// The schema of `brownout.toml`.
pub fn config() -> Schema {
    of::<File>()
}

/// The schema of a profile.
pub fn profile() -> Schema {
    of::<ProfileFile>()
}

/// TOML has no null: what is optional is left out, so its schema is that of what is there.
fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(schemars::transform::RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<T>()
}

fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if object
        .get("default")
        .is_some_and(serde_json::Value::is_null)
    {
        object.remove("default");
    }
    let Some(serde_json::Value::Array(any)) = object.get_mut("anyOf") else {
        return;
    };
    any.retain(|s| s.get("type").is_none_or(|t| t != "null"));
    if let [serde_json::Value::Object(only)] = any.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests;
