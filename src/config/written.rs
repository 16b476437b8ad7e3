//! A proxy that was written in JSON: the checks are those of a `[[proxy]]` in a file, and so are their words.

use super::{Config, ProxyConfig};
use crate::fault::spec::FieldError;
use serde_json::{Map, Value};

impl ProxyConfig {
    /// Reads a proxy from the members of a JSON object, named as the keys of `[[proxy]]`. `null` is as if it was not there.
    ///
    /// # Errors
    /// Everything that is wrong with it, by field.
    pub fn from_json(mut members: Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        prune(&mut members);
        if members.contains_key("probe") {
            return Err(vec![FieldError {
                path: "probe".into(),
                message: "only a configuration file can say how an upstream is probed".into(),
                remedy: "leave it out".into(),
            }]);
        }
        let table = toml::Table::try_from(&members).map_err(|e| one("", &e.to_string()))?;
        let mut document = toml::Table::new();
        // No real admin endpoint to clash with: that is checked against the one that runs.
        let admin = toml::Table::from_iter([("listen".to_owned(), "127.0.0.1:0".into())]);
        document.insert("admin".into(), admin.into());
        document.insert("proxy".into(), toml::Value::Array(vec![table.into()]));
        let text = document.to_string();
        let problems = match Config::parse(&text, "the request") {
            Ok(mut config) => match config.proxies.pop() {
                Some(proxy) => return Ok(proxy),
                None => return Err(one("", "there is no proxy in it")),
            },
            Err(problems) => problems,
        };
        let errors = problems.iter().map(|p| {
            let path = p.field.strip_prefix("proxy[0]").unwrap_or(&p.field);
            FieldError {
                path: path.trim_start_matches('.').into(),
                message: p.message.clone(),
                remedy: p.remedy.clone(),
            }
        });
        Err(errors.collect())
    }
}

fn one(path: &str, message: &str) -> Vec<FieldError> {
    vec![FieldError {
        path: path.into(),
        message: message.into(),
        remedy: String::new(),
    }]
}

/// Takes out what is null, which TOML cannot say.
fn prune(members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.is_null());
    for value in members.values_mut() {
        if let Value::Object(inner) = value {
            prune(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<ProxyConfig, Vec<FieldError>> {
        let Value::Object(members) = value else {
            panic!("an object");
        };
        ProxyConfig::from_json(members)
    }

    #[test]
    fn what_a_file_may_say_a_request_may_say() {
        let proxy = read(json!({
            "name": "api", "protocol": "http", "listen": "0", "upstream": "localhost:1", "pool": null,
            "slo": { "p95": "5ms", "p99": null }, "routes": ["/a/{id}"], "connect_timeout": "1s",
        }))
        .unwrap();
        assert_eq!(proxy.name, "api");
        assert_eq!(proxy.routes, ["/a/{id}"]);
        assert_eq!(proxy.pool, None);
    }

    #[test]
    fn problems_name_the_field_of_the_request() {
        let full = json!({ "name": "A B", "protocol": "http", "listen": "0", "upstream": "redis://:secret@h" });
        let errors = read(full).unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["name", "upstream"], "{errors:?}");
        assert!(!format!("{errors:?}").contains("secret"));
        let errors = read(json!({ "name": "a", "slo": { "p95": 5 }, "lisen": 1 })).unwrap_err();
        assert!(errors.iter().any(|e| e.path == "slo.p95"), "{errors:?}");
        assert!(errors.iter().any(|e| e.path == "lisen"), "{errors:?}");
        assert!(errors.iter().any(|e| e.path == "upstream"), "{errors:?}");
    }
}
