//! brownout.toml and profiles: model, validation with file, line and column, JSON Schema.

pub mod duration;
