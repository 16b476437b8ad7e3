use super::*;

#[test]
fn paths_are_written_as_they_are_read() {
    for path in ["", "a", "proxy[1].slo.p95", "a[0][12].b"] {
        assert_eq!(dotted(&steps(path)), path);
    }
}

#[test]
fn places_of_every_way_to_write_a_table() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Root {
        #[serde(rename = "t")]
        _t: Option<Vec<Inner>>,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "s")]
        _s: Option<Leaf>,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Leaf {
        #[serde(rename = "n")]
        _n: Option<u8>,
    }
    for (text, place) in [
        ("[[t]]\n[[t]]\n[t.s]\nn = 'x'", "4:5 t[1].s.n"),
        ("[[t]]\ns.n = 'x'", "2:7 t[0].s.n"),
        ("[[t]]\ns = { n = 'x' }", "2:11 t[0].s.n"),
        ("t = [{}, { s = { n = 300 } }]", "1:22 t[1].s.n"),
        ("[[t]]\ns = { n = 1, m = 1 }", "2:14 t[0].s.m"),
        ("[[t]]\n\"s\" = 3", "2:7 t[0].s"),
    ] {
        let mut document = Document::parse(text, "f").unwrap();
        let _: Option<Root> = document.read(&[]);
        let problems = document.into_problems();
        let places: Vec<String> = problems
            .iter()
            .map(|p| format!("{}:{} {}", p.line, p.column, p.field))
            .collect();
        assert_eq!(places, [place], "{text}");
    }
}

#[test]
fn what_is_not_there_is_reported_at_what_is_around_it() {
    let mut document = Document::parse("a = 1\n[[t]]\nx = 1\n[t.y]\nz = 1\n", "f").unwrap();
    for field in ["t[0].y.w", "t[0].q", "t[7].x", "nothing", ""] {
        document.report(field, "m", "");
    }
    let places: Vec<String> = document
        .into_problems()
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.field))
        .collect();
    assert_eq!(
        places,
        [
            "1:1 nothing",
            "1:1 ",
            "2:1 t[0].q",
            "2:1 t[7].x",
            "4:1 t[0].y.w"
        ]
    );
}

#[test]
fn all_syntax_errors_and_nothing_else() {
    let problems = Document::parse("a = \nb = 'x\nc = 1\nc = 2\n", "f").unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 4]);
}

#[test]
fn names_in_messages_may_hold_anything() {
    let (message, remedy) = plain(
        "unknown field `a`, expected b`, expected one of `x`, `y`",
        &[],
        None,
    );
    assert_eq!(message, "unknown field `a`, expected b`");
    assert_eq!(remedy, "expected x or y");
    let (message, _) = plain("unknown field `", &[], None);
    assert_eq!(message, "unknown field `");
}
