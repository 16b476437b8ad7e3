use super::*;
use crate::fault::arguments::Said;
use crate::fault::spec::FieldError;
use crate::protocol::{Fact, Facts};

fn spec() -> MatchSpec {
    MatchSpec::default()
}

fn many<T>(values: impl IntoIterator<Item = impl Into<T>>) -> Many<T> {
    Many(values.into_iter().map(Into::into).collect())
}

fn compile(spec: &MatchSpec) -> Result<Matcher, Vec<FieldError>> {
    let mut problems = Problems::new("fault[0]");
    let matcher = Matcher::compile(spec, &mut problems);
    problems.finish().map(|()| matcher)
}

#[test]
fn nothing_given_matches_everything() {
    let matcher = compile(&spec()).unwrap();
    assert!(matcher.covers("GET", Class::Read));
    assert!(matcher.covers("", Class::Ping));
    assert!(matcher.takes_client(None));
    assert!(matcher.takes_request(&mut Request::new(Protocol::Postgres, b"")));
    assert!(!matcher.needs_request(Protocol::Redis));
}

#[test]
fn operations_match_by_glob_in_any_case() {
    let matcher = compile(&MatchSpec {
        operation: many(["get", "Client|*"]),
        ..spec()
    })
    .unwrap();
    assert!(matcher.covers("GET", Class::Read));
    assert!(matcher.covers("client|setname", Class::Handshake));
    assert!(!matcher.covers("GETEX", Class::Read));
}

#[test]
fn method_route_and_class_all_have_to_hold() {
    let matcher = compile(&MatchSpec {
        method: many(["get", "HEAD"]),
        route: many(["/modules/{id}", "/health*"]),
        class: Class::Read.into(),
        ..spec()
    })
    .unwrap();
    assert!(matcher.covers("GET /modules/{id}", Class::Read));
    assert!(matcher.covers("HEAD /healthz", Class::Read));
    assert!(!matcher.covers("GET /modules/{id}", Class::Write));
    assert!(!matcher.covers("POST /modules/{id}", Class::Read));
    assert!(!matcher.covers("GET /modules", Class::Read));
    assert!(!matcher.covers("GET", Class::Read));
}

#[test]
fn clients_match_by_network() {
    let matcher = compile(&MatchSpec {
        client: many(["10.0.0.0/8", "::1"]),
        ..spec()
    })
    .unwrap();
    let takes = |address: &str| matcher.takes_client(Some(address.parse().unwrap()));
    assert!(takes("10.9.8.7") && takes("::1") && takes("::ffff:10.1.1.1"));
    assert!(!takes("11.0.0.1") && !takes("::2"));
    assert!(!matcher.takes_client(None));
}

#[test]
fn keys_match_by_glob_on_redis_only() {
    let matcher = compile(&MatchSpec {
        key: many(["user:*", "[xy]"]),
        ..spec()
    })
    .unwrap();
    assert!(matcher.needs_request(Protocol::Redis));
    let takes = |request: &[u8]| matcher.takes_request(&mut Request::new(Protocol::Redis, request));
    assert!(takes(b"*2\r\n$3\r\nGET\r\n$6\r\nuser:1\r\n"));
    assert!(takes(b"*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\ny\r\n"));
    assert!(!takes(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"));
    assert!(!takes(b"*1\r\n$4\r\nPING\r\n"));
    assert!(!matcher.takes_request(&mut Request::new(Protocol::Postgres, b"user:1")));
}

#[test]
fn headers_match_by_name_and_glob_on_http_only() {
    let matcher = compile(&MatchSpec {
        header: Many(vec![HeaderMatch {
            name: "x-tenant".into(),
            value: "acme-*".into(),
        }]),
        ..spec()
    })
    .unwrap();
    assert!(matcher.needs_request(Protocol::Redis));
    let takes = |request: &[u8]| matcher.takes_request(&mut Request::new(Protocol::Http, request));
    assert!(takes(b"GET / HTTP/1.1\r\nX-Tenant: acme-1\r\n\r\n"));
    assert!(!takes(b"GET / HTTP/1.1\r\nX-Tenant: other\r\n\r\n"));
    assert!(!takes(b"GET / HTTP/1.1\r\n\r\n"));
    assert!(!matcher.takes_request(&mut Request::new(Protocol::Tcp, b"")));
}

#[test]
fn what_a_protocol_does_not_have_is_foreign_to_it() {
    let foreign = |spec: MatchSpec| {
        let matcher = compile(&spec).unwrap();
        let all = [
            Protocol::Redis,
            Protocol::Postgres,
            Protocol::Http,
            Protocol::Tcp,
        ];
        all.map(|protocol| matcher.foreign_to(protocol).map(|(field, _)| field))
    };
    let key = Some("match.key");
    let only_redis = foreign(MatchSpec {
        key: many(["*"]),
        ..spec()
    });
    assert_eq!(only_redis, [None, key, key, key]);
    let route = Some("match.route");
    let only_http = foreign(MatchSpec {
        route: many(["*"]),
        ..spec()
    });
    assert_eq!(only_http, [route, route, None, route]);
    let decoded = foreign(MatchSpec {
        class: Class::Read.into(),
        ..spec()
    });
    assert_eq!(decoded, [None, None, None, Some("match.class")]);
    let named = foreign(MatchSpec {
        operation: many(["GET"]),
        ..spec()
    });
    assert_eq!(named, [None, None, None, Some("match.operation")]);
    let any = foreign(MatchSpec {
        operation: many(["GET", "b*"]),
        ..spec()
    });
    assert_eq!(any, [None; 4]);
}

#[test]
fn mistakes_are_named_where_they_are() {
    let wrong = MatchSpec {
        operation: many(["GET["]),
        key: many(["a\\"]),
        route: many(["/a"]),
        method: many(["GET POST"]),
        client: many(["10.1.2.3/8", "localhost"]),
        header: Many(vec![HeaderMatch {
            name: "X-Tenant:".into(),
            value: String::new(),
        }]),
        ..spec()
    };
    let problems = compile(&wrong).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "fault[0].match.route",
            "fault[0].match.operation",
            "fault[0].match.key",
            "fault[0].match.method",
            "fault[0].match.client",
            "fault[0].match.client",
            "fault[0].match.header.name",
            "fault[0].match.header.value",
        ]
    );
    assert_eq!(
        problems[4].remedy,
        "write \"10.0.0.0/8\", or \"10.1.2.3\" for that client alone"
    );
}

fn takes(matcher: &Matcher, sql: &str) -> bool {
    let statement = crate::protocol::postgres::Statement::of(sql.as_bytes(), false);
    let said = Said {
        facts: None,
        statement: Some(&statement),
    };
    matcher.takes_request(&mut Request::new(Protocol::Postgres, b"").knowing(said, 0))
}

#[test]
fn sql_matches_without_literals_and_without_case() {
    let matcher = compile(&MatchSpec {
        sql: many(["FROM orders\\b", "^update .* where id = \\?$"]),
        ..spec()
    })
    .unwrap();
    assert!(matcher.needs_request(Protocol::Postgres) && matcher.needs_statement());
    assert!(takes(
        &matcher,
        "SELECT *\n  FROM /* here */ Orders WHERE id = 1"
    ));
    assert!(takes(&matcher, "update t set a = 'from' where id = 7"));
    assert!(!takes(&matcher, "select 'from orders'"));
    assert!(!takes(&matcher, "select * from orders2 -- from orders"));
    let unknown = Request::new(Protocol::Postgres, b"").knowing(Said::default(), 0);
    assert!(!matcher.takes_request(&mut { unknown }));
}

#[test]
fn tables_match_with_and_without_their_schema() {
    let matcher = compile(&MatchSpec {
        table: many(["orders", "audit.*"]),
        ..spec()
    })
    .unwrap();
    assert!(takes(&matcher, "insert into ORDERS values (1)"));
    assert!(takes(
        &matcher,
        "select 1 from a join shop.\"orders\" o on true"
    ));
    assert!(takes(&matcher, "delete from audit.entries"));
    assert!(!takes(&matcher, "select orders from entries"));
    assert!(!takes(&matcher, "begin"));
}

#[test]
fn sql_and_table_have_to_hold_both() {
    let matcher = compile(&MatchSpec {
        sql: many(["^select"]),
        table: many(["orders"]),
        ..spec()
    })
    .unwrap();
    assert!(takes(&matcher, "select 1 from orders"));
    assert!(!takes(&matcher, "select 1 from users"));
    assert!(!takes(&matcher, "delete from orders"));
}

#[test]
fn what_a_session_said_matches_by_glob() {
    let mut facts = Facts::default();
    let facts_of = |facts: &Facts, protocol, spec: MatchSpec| {
        let said = Said {
            facts: Some(facts),
            statement: None,
        };
        let mut request = Request::new(protocol, b"GET / HTTP/1.1\r\nuser-agent: curl/8\r\n\r\n");
        request = request.knowing(said, 0);
        compile(&spec).unwrap().takes_request(&mut request)
    };
    let database = |text| MatchSpec {
        database: many([text]),
        ..spec()
    };
    let user = |text| MatchSpec {
        user: many([text]),
        ..spec()
    };
    let name = |text| MatchSpec {
        client_name: many([text]),
        ..spec()
    };
    // What a new session of Redis is.
    assert!(facts_of(&facts, Protocol::Redis, database("0")));
    assert!(facts_of(&facts, Protocol::Redis, user("def*")));
    assert!(!facts_of(&facts, Protocol::Redis, name("?*")));
    assert!(!facts_of(&facts, Protocol::Postgres, user("default")));
    facts.settle(Fact::Database, b"shop");
    facts.settle(Fact::User, b"api");
    facts.settle(Fact::Name, b"worker-7");
    assert!(facts_of(&facts, Protocol::Postgres, database("shop")));
    assert!(facts_of(&facts, Protocol::Postgres, user("a?i")));
    assert!(facts_of(&facts, Protocol::Postgres, name("worker-*")));
    let application = |text| MatchSpec {
        application_name: many([text]),
        ..spec()
    };
    assert!(facts_of(
        &facts,
        Protocol::Postgres,
        application("worker-*")
    ));
    assert!(!facts_of(
        &facts,
        Protocol::Postgres,
        application("Worker-*")
    ));
    assert!(facts_of(&facts, Protocol::Http, name("curl/*")));
    assert!(!facts_of(&facts, Protocol::Http, name("worker-*")));
}

#[test]
fn of_several_headers_one_has_to_be_there() {
    let header = |name: &str, value: &str| HeaderMatch {
        name: name.into(),
        value: value.into(),
    };
    let matcher = compile(&MatchSpec {
        header: Many(vec![header("x-a", "1"), header("x-b", "*")]),
        ..spec()
    })
    .unwrap();
    let takes = |request: &[u8]| matcher.takes_request(&mut Request::new(Protocol::Http, request));
    assert!(takes(b"GET / HTTP/1.1\r\nX-A: 1\r\n\r\n"));
    assert!(takes(b"GET / HTTP/1.1\r\nX-B: 7\r\n\r\n"));
    assert!(!takes(b"GET / HTTP/1.1\r\nX-A: 2\r\n\r\n"));
}

#[test]
fn patterns_are_bounded() {
    let refused = |pattern: &str| {
        let problems = compile(&MatchSpec {
            sql: many([pattern]),
            ..spec()
        });
        problems.unwrap_err()[0].message.clone()
    };
    assert_eq!(refused(""), "an empty pattern matches every statement");
    assert_eq!(
        refused(&"a".repeat(1025)),
        "the pattern is longer than 1024 bytes"
    );
    assert_eq!(
        refused("(a{1000}){1000}"),
        "`(a{1000}){1000}` becomes too large"
    );
    assert_eq!(refused("from ("), "`from (`: unclosed group");
    assert!(
        refused(&"(".repeat(200)).contains("unclosed")
            || refused(&"(".repeat(200)).contains("nest")
    );
    let at_the_bound = MatchSpec {
        sql: many([&*"a".repeat(1024)]),
        ..spec()
    };
    assert!(compile(&at_the_bound).is_ok());
}
