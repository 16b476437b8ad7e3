use super::*;

fn listen(text: &str) -> Listen {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn upstream(text: &str) -> Upstream {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn every_form_of_listen() {
    for (text, shown) in [
        ("26379", "127.0.0.1:26379"),
        ("0", "127.0.0.1:0"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(listen(text).to_string(), shown);
        assert_eq!(listen(&listen(text).to_string()), listen(text));
    }
}

#[test]
fn every_form_of_upstream() {
    for text in [
        "localhost:6379",
        "redis_1.internal.:6379",
        "10.0.0.1:1",
        "[::1]:6379",
        "[fe80::1%eth0]:6379",
        "unix:/run/a.sock",
    ] {
        assert_eq!(upstream(text).to_string(), text);
    }
}

#[test]
fn says_what_is_wrong_with_a_listen_address() {
    for (text, message) in [
        (
            "",
            "\"\" has no port; expected `port`, `addr:port`, `[v6]:port` or `unix:/path`, like \"127.0.0.1:26379\"",
        ),
        (
            "70000",
            "\"70000\" is not a port; expected a number from 0 to 65535",
        ),
        (
            "127.0.0.1:http",
            "\"http\" is not a port; expected a number from 0 to 65535",
        ),
        (
            "127.0.0.1:+80",
            "\"+80\" is not a port; expected a number from 0 to 65535",
        ),
        (
            ":80",
            "\":80\" does not say which address; write 127.0.0.1:80 for this machine only, or 0.0.0.0:80 for every interface",
        ),
        (
            "redis.internal:80",
            "\"redis.internal\" is a name, and a proxy listens on an address; \
             expected `port`, `addr:port`, `[v6]:port` or `unix:/path`, like \"127.0.0.1:26379\"",
        ),
        (
            "[::1",
            "\"[::1\" is not an IPv6 address with a port; expected `[v6]:port`, like \"[::1]:6379\"",
        ),
        (
            "::1:80",
            "\"::1:80\" is ambiguous: an IPv6 address stands in brackets; expected `[v6]:port`, like \"[::1]:6379\"",
        ),
        (
            "unix:a.sock",
            "\"a.sock\" is not an absolute path; expected an absolute path, like \"unix:/run/redis.sock\"",
        ),
        (
            "http://0.0.0.0",
            "a URL is not an address; write only host and port: \"0.0.0.0:80\"",
        ),
    ] {
        assert_eq!(
            text.parse::<Listen>().unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}

#[test]
fn says_what_is_wrong_with_an_upstream() {
    const EXPECTED: &str =
        "expected `host:port`, `[v6]:port` or `unix:/path`, like \"localhost:6379\"";
    for (text, message) in [
        (
            "localhost",
            format!("\"localhost\" has no port; {EXPECTED}"),
        ),
        (":6379", format!("\":6379\" has no host; {EXPECTED}")),
        (
            "a b:1",
            format!("\"a b\" is no host name or address; {EXPECTED}"),
        ),
        (
            "h:0",
            "port 0 cannot be connected to; expected a port from 1 to 65535".into(),
        ),
        (
            "/run/r.sock",
            "\"/run/r.sock\" is a path; for a unix socket write \"unix:/run/r.sock\"".into(),
        ),
        (
            "redis://localhost:6379/0",
            "a URL is not an address; write only host and port: \"localhost:6379\"".into(),
        ),
        (
            "postgres://me:secret@db/x?sslmode=off",
            "a URL is not an address; write only host and port: \"db:5432\"".into(),
        ),
        (
            "me:secret@db:1",
            "an address holds no user or password; write only host and port: \"db:1\"".into(),
        ),
        (
            "redis://",
            "a URL is not an address; write only host and port: \"localhost:6379\"".into(),
        ),
    ] {
        assert_eq!(
            text.parse::<Upstream>().unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}

#[test]
fn unix_paths_are_bounded() {
    let longest = format!("unix:/{}", "a".repeat(102));
    assert!(longest.parse::<Listen>().is_ok());
    assert!(format!("{longest}a").parse::<Listen>().is_err());
}

#[test]
fn collisions() {
    for (a, b, expected) in [
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "[::1]:80", false),
        ("127.0.0.2:80", "127.0.0.1:80", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("unix:/a", "unix:/a", true),
        ("unix:/a", "80", false),
    ] {
        assert_eq!(listen(a).collides_with(&listen(b)), expected, "{a} {b}");
        assert_eq!(listen(b).collides_with(&listen(a)), expected, "{b} {a}");
    }
}

#[test]
fn loops() {
    for (at, to, expected) in [
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "localhost:80", true),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
        ("[::1]:80", "LOCALHOST:80", true),
        ("0.0.0.0:80", "127.9.9.9:80", true),
        ("0.0.0.0:80", "10.0.0.1:80", false),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("127.0.0.1:80", "db:80", false),
        ("unix:/a", "unix:/a", true),
    ] {
        assert_eq!(
            listen(at).is_reached_by(&upstream(to)),
            expected,
            "{at} {to}"
        );
    }
}

#[test]
fn local_addresses() {
    for (text, local) in [
        ("80", true),
        ("[::1]:80", true),
        ("unix:/a", true),
        ("0.0.0.0:80", false),
    ] {
        assert_eq!(listen(text).is_local(), local, "{text}");
    }
}

#[test]
fn only_http_is_also_reached_by_the_url_of_a_root() {
    let of = |text: &str, protocol| {
        let written: Result<Written, AddressError> = text.parse();
        written.and_then(|w| w.of(protocol)).map(|u| u.to_string())
    };
    for (text, address) in [
        ("http://localhost:8000", "localhost:8000"),
        ("http://localhost:8000/", "localhost:8000"),
        ("http://api", "api:80"),
        ("http://[::1]:8000/", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
        ("localhost:8000", "localhost:8000"),
    ] {
        assert_eq!(of(text, Protocol::Http).as_deref(), Ok(address), "{text}");
    }
    for text in [
        "http://",
        "http://h:1/path",
        "http://h:1/?a",
        "http://h:1//",
        "http://u:p@h:1",
        "https://h:1",
        "http://h:x",
        "http://h:0",
    ] {
        let refused = of(text, Protocol::Http).expect_err(text).to_string();
        assert!(!refused.contains("u:p"), "{refused}");
    }
    let refused = of("http://h:1", Protocol::Redis).expect_err("no URL of Redis");
    assert_eq!(
        refused.to_string(),
        "a URL is not an address; write only host and port: \"h:1\""
    );
}
