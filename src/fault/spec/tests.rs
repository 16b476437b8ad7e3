use super::*;

const EVERYTHING: &str = r#"
name = "lost-commit-ack"
proxy = "postgres-*"
action = "latency"
on = "request"
floor = false
probability = 0.5
every = 2
first = 10
after = 3
per_second = 100
scope = "session"
ttl = "5m"
seed = 42

[delay]
distribution = "lognormal"
p50 = "5ms"
p99 = "40ms"

[match]
operation = ["COMMIT", "SELECT*"]
class = "transaction"
client = "10.0.0.0/8"

[match.header]
name = "x-tenant"
value = "acme-*"

[schedule]
start = "5s"
duration = "10s"
repeat = "30s"
ramp = "2s"
"#;

#[test]
fn what_was_written_is_written_back() {
    let spec: FaultSpec = toml::from_str(EVERYTHING).unwrap();
    let toml = toml::to_string(&spec).unwrap();
    assert_eq!(toml::from_str::<FaultSpec>(&toml).unwrap(), spec, "{toml}");
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(
        serde_json::from_str::<FaultSpec>(&json).unwrap(),
        spec,
        "{json}"
    );
    // What was not given is not written.
    let short: FaultSpec = toml::from_str("action = 'stall'").unwrap();
    assert_eq!(
        serde_json::to_string(&short).unwrap(),
        r#"{"proxy":"*","action":"stall"}"#
    );
}

#[test]
fn a_delay_is_a_duration_or_a_table() {
    let delay = |text: &str| {
        let spec: FaultSpec =
            toml::from_str(&format!("action = 'latency'\ndelay = {text}")).unwrap();
        spec.delay.unwrap()
    };
    assert_eq!(delay("'5ms'"), Delay::Fixed(Duration::from_millis(5)));
    let table = DelayTable {
        min: Some(Duration::from_millis(1)),
        max: Some(Duration::from_secs(1)),
        ..DelayTable::new(DistributionKind::Uniform)
    };
    assert_eq!(
        delay("{ distribution = 'uniform', min = '1ms', max = '1s' }"),
        Delay::Drawn(table)
    );
}

#[test]
fn mistakes_are_told_with_line_column_and_what_was_expected() {
    for (toml, position, words) in [
        (
            "action = 'stall'\nprobabilty = 1",
            "line 2, column 1",
            "unknown field `probabilty`",
        ),
        (
            "action = 'stal'",
            "line 1, column 10",
            "unknown variant `stal`",
        ),
        (
            "action = 'latency'\ndelay = 5",
            "line 2, column 9",
            "a duration with a unit",
        ),
        (
            "action = 'latency'\ndelay = '5'",
            "line 2, column 9",
            "`5` is not a duration",
        ),
        (
            "action = 'latency'\ndelay = '-5ms'",
            "line 2, column 9",
            "`-5ms` is not a duration",
        ),
        (
            "action = 'latency'\ndelay = { distribution = 'uniform', mn = '1ms' }",
            "line 2, column 37",
            "unknown field `mn`",
        ),
        (
            "action = 'stall'\nmatch = { class = 'reed' }",
            "line 2, column 19",
            "unknown variant `reed`",
        ),
        (
            "action = 'stall'\nmatch = { class = ['read', 'x'] }",
            "line 2, column 28",
            "unknown variant `x`",
        ),
        (
            "action = 'stall'\nevery = -1",
            "line 2, column 9",
            "integer `-1`",
        ),
        ("proxy = 'a'", "line 1, column 1", "missing field `action`"),
    ] {
        let error = toml::from_str::<FaultSpec>(toml)
            .expect_err(toml)
            .to_string();
        assert!(error.contains(words), "{toml}\n{error}");
        assert!(error.contains(position), "{toml}\n{error}");
    }
}

#[test]
fn the_schema_knows_every_key_and_describes_it() {
    let schema = serde_json::to_value(schemars::schema_for!(FaultSpec)).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let spec: FaultSpec = toml::from_str(EVERYTHING).unwrap();
    let written = serde_json::to_value(&spec).unwrap();
    for key in written.as_object().unwrap().keys() {
        let property = &properties[key];
        assert!(property["description"].is_string(), "{key}: {property}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["action"]));
    for kind in ActionKind::ALL {
        assert!(schema.to_string().contains(&format!("\"{}\"", kind.name())));
        let json = serde_json::to_value(kind).unwrap();
        assert_eq!(json, kind.name(), "the name is what is written");
    }
}
