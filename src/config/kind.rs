//! Whether a file is a configuration or a profile: both are TOML, and people name them as they like.

use super::suggest::nearest;
use serde::Serialize;
use std::path::Path;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A `brownout.toml`.
    Configuration,
    /// A profile.
    Profile,
}

const OF_CONFIGURATION: [&str; 11] = [
    "proxy",
    "admin",
    "limits",
    "workers",
    "profiles",
    "hlog",
    "drain_deadline",
    "max_sessions",
    "ledger",
    "on_desync",
    "tcp_user_timeout",
];
const OF_PROFILE: [&str; 8] = [
    "fault",
    "service",
    "description",
    "load",
    "phase",
    "expect",
    "guard",
    "watch",
];

impl Kind {
    /// By the keys at the top, misspelt or not; where they do not tell, by the name of the file.
    pub fn of(path: &Path, text: &str) -> Self {
        let (table, _) = super::locate::parse(text);
        let like = |known: &[&str]| {
            let keys = table.get_ref().keys().take(1_000);
            keys.filter(|k| nearest(k.get_ref(), known.iter().copied()).is_some())
                .count()
        };
        let (configuration, profile) = (like(&OF_CONFIGURATION), like(&OF_PROFILE));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if configuration > profile || (configuration == profile && name.starts_with("brownout")) {
            Self::Configuration
        } else {
            Self::Profile
        }
    }

    /// As it is called in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Profile => "profile",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_keys_then_by_name() {
        for (name, text, kind) in [
            ("x.toml", "[[proxy]]", Kind::Configuration),
            ("x.toml", "[[prxoy]]", Kind::Configuration),
            ("brownout.toml", "[[fault]]", Kind::Profile),
            ("brownout.toml", "seed = 1", Kind::Configuration),
            ("x.toml", "seed = 1", Kind::Profile),
            ("brownout.staging.toml", "= =", Kind::Configuration),
            ("x.toml", "", Kind::Profile),
        ] {
            assert_eq!(Kind::of(Path::new(name), text), kind, "{name} {text}");
        }
    }

    #[test]
    fn knows_every_key() {
        let keys = |schema: schemars::Schema| -> Vec<String> {
            schema
                .get("properties")
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        // What may stand in both tells nothing.
        for (known, schema, both) in [
            (
                &OF_CONFIGURATION[..],
                super::super::schema::config(),
                &["seed"][..],
            ),
            (
                &OF_PROFILE[..],
                super::super::schema::profile(),
                &["proxy", "seed"],
            ),
        ] {
            let missing: Vec<String> = keys(schema)
                .into_iter()
                .filter(|k| !known.contains(&k.as_str()))
                .collect();
            assert_eq!(missing, both);
        }
    }
}
