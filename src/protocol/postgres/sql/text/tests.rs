//! The literal-free form, statement by statement.

use proptest::prelude::*;

use super::*;

fn text(sql: &str) -> String {
    String::from_utf8(Statement::of(sql.as_bytes(), false).text().to_vec()).unwrap()
}

fn tables(sql: &str) -> Vec<String> {
    let statement = Statement::of(sql.as_bytes(), false);
    let names = statement.tables().iter();
    names
        .map(|table| String::from_utf8(table.full().to_vec()).unwrap())
        .collect()
}

#[test]
fn literals_and_comments_go_and_the_rest_stays() {
    for (sql, expected) in [
        ("SELECT  1", "select ?"),
        ("\t select\n\r\n*  from  T ;  ", "select * from t ;"),
        ("select/**/1", "select ?"),
        ("select -- secret\n a", "select a"),
        ("select a -- secret", "select a"),
        ("/* a /* nested */ secret */select a", "select a"),
        ("/*/ still inside */ select a", "select a"),
        ("select a /* open secret", "select a"),
        ("select a - - 1", "select a - - ?"),
        (
            "select -1, +.5, 1.5e-3, 0x1F, 1_000, 1e10",
            "select -?, +?, ?, ?, ?, ?",
        ),
        ("select t1.a1, x.y", "select t1.a1, x.y"),
        ("select (a).1", "select (a).?"),
        ("select $1, $23::int", "select $1, $23::int"),
        ("select 'it''s'", "select ?"),
        ("select 'a' 'b'", "select ?"),
        ("select 'a'\n  'b' , 'c'", "select ? , ?"),
        ("select 'a' || 'b'", "select ? || ?"),
        (r"select E'a\'secret', 'b\', 'c'", "select ?, ?, ?"),
        (r"select e'it''s \\', 'x'", "select ?, ?"),
        (r"select E'open \' secret", "select ?"),
        ("select 'open secret", "select ?"),
        ("select b'101', X'1F', n'x', B'1'", "select ?, ?, ?, ?"),
        ("select bb'x'", "select bb?"),
        (
            r"select U&'d\0061t', u&'x' UESCAPE '!'",
            "select ?, ? uescape ?",
        ),
        ("select $$it's $ secret$$, 1", "select ?, ?"),
        ("select $a$ $$ $b$ $A$ secret $a$ from t", "select ? from t"),
        ("select $a$ $a secret $a$", "select ?"),
        ("select $a$ $$ secret", "select ?"),
        ("select $é$ secret $é$", "select ?"),
        ("select a$b$, c from t", "select a$b$, c from t"),
        ("select $ x", "select $ x"),
        (
            "select 'x'::text, 1::numeric(3,2)",
            "select ?::text, ?::numeric(?,?)",
        ),
        (
            "select array[1,2], '{1,2}'::int[], a[1:2]",
            "select array[?,?], ?::int[], a[?:?]",
        ),
        ("where id IN (1, 2, 'a')", "where id in (?, ?, ?)"),
        (
            "select date '2020-01-01', interval '1' day",
            "select date ?, interval ? day",
        ),
        (
            r#"select "Mixed ""Case""", "a'b" from "T""#,
            r#"select "Mixed ""Case""", "a'b" from "T""#,
        ),
        (
            r#"select U&"d\0061t" from t"#,
            r#"select u&"d\0061t" from t"#,
        ),
        (
            "select Ünïcode, ÄB from Straße",
            "select Ünïcode, Äb from straße",
        ),
        ("select true, null", "select true, null"),
        ("select a ? 'b', a->>'c'", "select a ? ?, a->>?"),
        ("", ""),
        (" ; ", ";"),
        ("select 1\0 secret", "select ?"),
    ] {
        assert_eq!(text(sql), expected, "{sql}");
    }
}

#[test]
fn a_backslash_escapes_in_every_string_where_the_server_says_so() {
    let sql = br"select 'a\'secret', 'c'";
    assert_eq!(Statement::of(sql, true).text(), b"select ?, ?");
    // The same bytes, read by the standard: the second string begins at another quote.
    assert_eq!(Statement::of(sql, false).text(), b"select ?secret?c?");
}

#[test]
fn it_is_cut_at_its_limits() {
    let long = format!("select {}1 from t", "a, ".repeat(TEXT_LIMIT));
    let statement = Statement::of(long.as_bytes(), false);
    assert_eq!(statement.text().len(), TEXT_LIMIT);
    assert!(statement.text().starts_with(b"select a, a, "));
    // Tables are looked for beyond that, as far as a request is held.
    assert_eq!(statement.tables()[0].full(), b"t");
    let far = format!("select '{}' from t", "x".repeat(RAW_LIMIT));
    let statement = Statement::of(far.as_bytes(), false);
    assert_eq!(
        (statement.text(), statement.tables().len()),
        (&b"select ?"[..], 0)
    );
    let many: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let many = Statement::of(
        format!("select 1 from {}", many.join(", ")).as_bytes(),
        false,
    );
    assert_eq!(many.tables().len(), super::super::tables::LIMIT);
    let name = "n".repeat(1000);
    let named = Statement::of(format!("select 1 from {name}.{name}").as_bytes(), false);
    assert!(named.tables()[0].full().len() < 200);
    assert!(named.weight() < 4 * 1024);
}

#[test]
fn tables_are_found_by_where_they_stand() {
    for (sql, expected) in [
        ("select * from orders", "orders"),
        ("SELECT * FROM Shop.Orders o", "shop.orders"),
        (r#"select * from "Shop"."Order ""s""""#, r#"Shop.Order "s""#),
        (r#"select * from U&"d\0061t\+000061""#, "data"),
        ("select * from a, b c, d as e where f = g", "a b d"),
        (
            "select * from a join b on a.x = b.x left join c using (id), d",
            "a b c d",
        ),
        ("select * from (a cross join b), c", "a b c"),
        (
            "select * from (select 1 from inner_t where x in (1, 2)) s, t",
            "inner_t t",
        ),
        ("select * from generate_series(1, 3) g, t", "t"),
        (
            "select a from t where b in (select c from u) and d = (select max(e) from v)",
            "t u v",
        ),
        (
            "select extract(year from ts), substring(x from 1), trim(both from y) from t",
            "t",
        ),
        ("select a is distinct from b from t", "t"),
        ("select from_date, a.from from t", "t"),
        ("insert into t (a, b) values (1, 2)", "t"),
        (
            "insert into t select * from u on conflict (a) do update set b = 1",
            "t u",
        ),
        ("update only s.t set a = 1 from u where u.x = t.x", "s.t u"),
        ("select * from t for update of t", "t"),
        ("select * from t for no key update", "t"),
        (
            "delete from only t using u where t.a = u.a returning a",
            "t u",
        ),
        (
            "merge into t using s on t.a = s.a when matched then delete",
            "t s",
        ),
        ("truncate table a, b restart identity cascade", "a b"),
        ("truncate a", "a"),
        ("copy t (a, b) from stdin", "t"),
        ("copy (select * from t) to stdout", "t"),
        ("lock table t in exclusive mode", "t"),
        ("alter table if exists t add column c int", "t"),
        (
            "create temp table if not exists t as select * from u",
            "t u",
        ),
        ("drop table a, b.c cascade", "a b.c"),
        ("vacuum full t", "t"),
        ("explain (analyze, buffers) select * from t", "t"),
        ("table t", "t"),
        ("select a into temp u from t", "u t"),
        ("with c as (select * from t) select * from c", "t c"),
        ("select 1 from a; delete from b", "a b"),
        ("select * from a -- , secret\n, b", "a b"),
        ("select * from t union select * from u order by 1, 2", "t u"),
        ("fetch 10 from cursor_name", ""),
        ("revoke select on t from somebody", ""),
        ("select 1", ""),
        ("select from", ""),
        ("select * from t.", ""),
        ("select 'select * from secret'", ""),
        ("select * from t t2, t", "t"),
    ] {
        assert_eq!(tables(sql).join(" "), expected, "{sql}");
    }
    let both = Statement::of(b"select 1 from s.t", false);
    assert_eq!(both.tables()[0].bare(), b"t");
}

proptest! {
    /// Whatever is between quotes never comes out, in whatever it is wrapped.
    #[test]
    fn no_literal_survives(
        before in "[a-z ,=()]{0,10}",
        quote in 0..5_usize,
        inside in "[a-z0-9 ]{0,8}",
    ) {
        let (open, close) = [("'", "'"), ("E'\\'", "'"), ("$$", "$$"), ("$x$ $$", "$x$"), ("U&'", "'")][quote];
        let sql = format!("{before} {open}SECRET{inside}{close} , x");
        prop_assert!(!text(&sql).to_uppercase().contains("SECRET"), "{} -> {}", sql, text(&sql));
    }

    /// Any bytes end, within the limits.
    #[test]
    fn any_bytes_are_read(sql in proptest::collection::vec(any::<u8>(), 0..300), escapes: bool) {
        let once = Statement::of(&sql, escapes);
        prop_assert!(once.text().len() <= TEXT_LIMIT);
        prop_assert!(once.tables().len() <= super::super::tables::LIMIT);
    }
}

#[test]
fn an_escape_at_the_very_end_ends_the_string() {
    for sql in ["select E'\\", "select E'a\\", "E'\\\\\\"] {
        let statement = Statement::of(sql.as_bytes(), true);
        assert!(!statement.text().contains(&b'\\'), "{sql}");
    }
}

#[test]
fn what_the_documentation_says_is_so() {
    let page = include_str!("../../../../../docs/matching.md");
    let (_, table) = page
        .split_once("| statement | literal-free | tables |\n")
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let mut seen = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let cell = |at: usize| {
            cells
                .get(at)
                .map_or("", |cell| cell.trim().trim_matches(['`', '|', ' ']))
        };
        assert_eq!(text(cell(0)), cell(1), "{row}");
        assert_eq!(tables(cell(0)).join(" "), cell(2), "{row}");
        seen += 1;
    }
    assert_eq!(seen, 6);
    let (_, block) = page.split_once("```toml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    crate::config::Profile::parse("docs", block, "docs/matching.md").unwrap();
}
