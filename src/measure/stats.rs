//! The figures that readers get, as they appear in JSON.

/// The figures of all proxies over one window.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Stats {}
