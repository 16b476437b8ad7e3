//! What people write: the configuration file and profiles.

use crate::config::{Config, Profile};

/// Any text is read or refused with problems that can be shown. What is read can be asked what it fits.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let config = match Config::parse(text, "f.toml") {
        Ok(config) => config,
        Err(problems) => {
            assert!(problems.to_string().contains("f.toml"));
            Config::default()
        }
    };
    match Profile::parse("f", text, "f.toml") {
        Ok(profile) => {
            profile.summary();
            // Whether it fits is as good an answer as that it does not.
            let _ = profile.check_against(&config.proxies);
        }
        Err(problems) => assert!(problems.to_string().contains("f.toml")),
    }
}
