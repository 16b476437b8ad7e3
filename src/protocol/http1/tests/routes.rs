//! What exchanges are called.

use crate::protocol::Class;
use crate::protocol::http1::Routes;
use crate::protocol::http1::method::Method;
use crate::protocol::http1::routes::RouteCache;

fn name(routes: &Routes, method: &str, target: &str) -> String {
    let method = Method::of(method.as_bytes());
    let mut cache = RouteCache::default();
    let operation = routes.operation(method, target.as_bytes(), true, &mut cache);
    let again = routes.operation(method, target.as_bytes(), true, &mut cache);
    assert_eq!(operation, again, "a known path keeps its number");
    assert_eq!(routes.operation_class(operation), method.class());
    let name = routes.operation_name(operation);
    assert_eq!(
        name,
        format!(
            "{} {}",
            routes.method_of(operation),
            routes.route_of(operation)
        )
    );
    name
}

fn routes(list: &[&str]) -> Routes {
    Routes::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn variable_segments_are_named() {
    let routes = routes(&[]);
    for (target, expected) in [
        ("/", "/"),
        ("/modules", "/modules"),
        ("/modules/", "/modules/"),
        ("/modules/17", "/modules/{id}"),
        ("/modules/-17", "/modules/{id}"),
        ("/at/2024-01-31", "/at/{id}"),
        ("/v1/users/4711/orders/12", "/v1/users/{id}/orders/{id}"),
        ("/x/123e4567-e89b-12d3-a456-426614174000", "/x/{id}"),
        ("/x/ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB", "/x/{id}"),
        ("/x/d41d8cd98f00b204e9800998ecf8427e", "/x/{id}"),
        ("/x/deadbeef", "/x/deadbeef"),
        ("/x/deadbee1", "/x/{id}"),
        ("/x/deadbe1", "/x/deadbe1"),
        ("/x/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/x/{id}"),
        ("/x/internationalization", "/x/internationalization"),
        ("/a?b=/c/1", "/a"),
        ("/a#b", "/a"),
        ("//a///1//", "/a/{id}/"),
        ("/..", "/.."),
        ("/%7Euser/a%20b", "/%7Euser/a%20b"),
        ("/caf\u{e9}", "other"),
        ("*", "*"),
        ("http://host:8080/a/1?x", "/a/{id}"),
        ("http://host", "/"),
        ("HTTPS://host?x", "/"),
        ("host:443", "other"),
        ("relative/path", "other"),
    ] {
        assert_eq!(
            name(&routes, "GET", target),
            format!("GET {expected}"),
            "{target}"
        );
    }
    assert_eq!(name(&routes, "CONNECT", "host:443"), "CONNECT {authority}");
    let deep = "/a".repeat(32);
    assert_eq!(name(&routes, "GET", &deep), format!("GET {deep}"));
    assert_eq!(name(&routes, "GET", &"/a".repeat(33)), "GET other");
    assert_eq!(
        name(&routes, "GET", &format!("/{}", "a".repeat(65))),
        "GET /{id}"
    );
    assert_eq!(
        name(&routes, "GET", &format!("/{}", "abcdefg/".repeat(20))),
        "GET other"
    );
}

#[test]
fn methods_and_classes() {
    let routes = routes(&[]);
    for (method, class) in [
        ("GET", Class::Read),
        ("HEAD", Class::Read),
        ("OPTIONS", Class::Read),
        ("TRACE", Class::Read),
        ("POST", Class::Write),
        ("PUT", Class::Write),
        ("DELETE", Class::Write),
        ("PATCH", Class::Write),
        ("CONNECT", Class::Admin),
    ] {
        assert_eq!(
            name(&routes, method, "/healthz"),
            format!("{method} /healthz")
        );
        assert_eq!(Method::of(method.as_bytes()).class(), class);
    }
    for method in ["get", "PROPFIND", "GETT", ""] {
        assert_eq!(name(&routes, method, "/a"), "other /a");
        assert_eq!(Method::of(method.as_bytes()).class(), Class::Write);
    }
}

#[test]
fn configured_routes_come_first_and_the_most_specific_wins() {
    let routes = routes(&[
        "/{tenant}/modules/{id}",
        "/acme/{kind}/{id}",
        "/acme/modules/{id}",
        "/acme/modules/new",
        "/files/{name}",
        "/files/{name}",
        "plain/{x}/",
    ]);
    for (target, expected) in [
        ("/acme/modules/new", "/acme/modules/new"),
        ("/acme/modules/17", "/acme/modules/{id}"),
        ("/acme/things/x", "/acme/{kind}/{id}"),
        ("/other/modules/x", "/{tenant}/modules/{id}"),
        ("/files/report.pdf?download=1", "/files/{name}"),
        ("/files/", "/files/"),
        ("/files/17/18", "/files/{id}/{id}"),
        ("/plain/17/", "/plain/{x}/"),
        ("/plain/17", "/plain/{id}"),
    ] {
        assert_eq!(
            name(&routes, "GET", target),
            format!("GET {expected}"),
            "{target}"
        );
    }
}

#[test]
fn learned_routes_are_bounded() {
    let routes = routes(&["/known/{id}"]);
    let letters = |n: u32| {
        let letter = |n| char::from_u32(97 + n % 26).unwrap();
        format!("/{}{}{}", letter(n), letter(n / 26), letter(n / 676))
    };
    for n in 0..200 {
        assert_eq!(
            name(&routes, "GET", &letters(n)),
            format!("GET {}", letters(n))
        );
    }
    for n in 200..1000 {
        assert_eq!(name(&routes, "GET", &letters(n)), "GET other");
    }
    assert_eq!(
        name(&routes, "POST", &letters(3)),
        format!("POST {}", letters(3))
    );
    assert_eq!(name(&routes, "GET", "/known/x"), "GET /known/{id}");
}

#[test]
fn numbers_fit_whatever_is_configured() {
    let list: Vec<_> = (0..7000).map(|n| format!("/r{n}x/{{id}}")).collect();
    let routes = Routes::new(&list);
    assert_eq!(name(&routes, "PATCH", "/r6000x/1"), "PATCH /r6000x/{id}");
    assert_eq!(name(&routes, "PURGE", "/r6999x/1"), "other /r6999x/{id}");
    for n in 0..300 {
        _ = name(&routes, "PURGE", &format!("/r6999x/a{n}b"));
    }
    assert_eq!(
        routes.operation_name(crate::protocol::Operation(u16::MAX)),
        "CONNECT other"
    );
}

#[test]
fn workers_agree_on_numbers() {
    let routes = routes(&[]);
    let learn = || {
        let mut cache = RouteCache::default();
        (0..300)
            .map(|n| format!("/r{}x", n % 250))
            .map(|path| routes.operation(Method::Get, path.as_bytes(), true, &mut cache))
            .map(|operation| routes.operation_name(operation))
            .collect::<Vec<_>>()
    };
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(learn)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    for names in &seen {
        for (n, name) in names.iter().enumerate() {
            assert!(*name == format!("GET /r{}x", n % 250) || name == "GET other");
        }
    }
    assert_eq!(
        learn()
            .iter()
            .take(250)
            .filter(|name| *name != "GET other")
            .count(),
        200
    );
}
