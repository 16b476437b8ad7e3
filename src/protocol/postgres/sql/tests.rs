//! The scanner, statement by statement.

use proptest::prelude::*;

use super::super::operation::{operation_class, operation_name};
use super::*;
use crate::protocol::Class;

fn scan_in(sql: &str, piece: usize) -> (usize, Verdict) {
    let text = [sql.as_bytes(), &[0]].concat();
    let mut scanner = Scanner::new();
    let mut read = 0;
    for chunk in text.chunks(piece) {
        if let Some((more, verdict)) = scanner.feed(chunk) {
            return (read + more, verdict);
        }
        read += chunk.len();
    }
    panic!("a NUL brings a verdict: {sql}");
}

fn scan(sql: &str) -> Verdict {
    let whole = scan_in(sql, usize::MAX);
    for piece in 1..8 {
        assert_eq!(scan_in(sql, piece), whole, "{sql} in pieces of {piece}");
    }
    whole.1
}

fn told(sql: &str) -> String {
    let known = scan(sql).known;
    let usual = operation_class(known.operation);
    let name = operation_name(known.operation);
    if known.class == usual {
        name.to_owned()
    } else {
        format!("{name} {}", known.class.name())
    }
}

#[test]
fn the_leading_keyword_names_the_statement() {
    for (sql, expected) in [
        ("select 1", "SELECT"),
        ("SeLeCt\t1", "SELECT"),
        ("select", "SELECT"),
        ("select(1)", "SELECT"),
        ("select'x'", "SELECT"),
        ("  \r\n\x0b\x0c((select 1) union (select 2))", "SELECT"),
        ("select * from t for update", "SELECT"),
        ("-- select\ninsert into t values (1)", "INSERT"),
        ("/**/update t set a = 1", "UPDATE"),
        ("/* /* */ select */ delete from t", "DELETE"),
        ("/*/ select */merge into t using u on true", "MERGE"),
        ("/***/truncate t", "TRUNCATE"),
        (";; ;select 1", "SELECT"),
        ("values (1)", "VALUES"),
        ("table t", "TABLE"),
        ("selects 1", "other"),
        ("selecté", "other"),
        ("\"select\" 1", "other"),
        ("'select'", "other"),
        ("$1", "other"),
        ("-1", "other"),
        ("/ 1", "other"),
        ("averyveryverylongword1234select 1", "other"),
        ("other", "other"),
        ("startup", "other"),
        ("EMPTY", "other"),
        ("", "EMPTY"),
        (" ; -- nothing", "EMPTY"),
        ("/* open", "EMPTY"),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn what_shares_a_keyword_is_told_apart() {
    for (sql, expected) in [
        ("begin isolation level serializable", "BEGIN"),
        ("start transaction", "BEGIN"),
        ("start /* */ transaction read only", "BEGIN"),
        ("start replication", "other"),
        ("start", "other"),
        ("commit", "COMMIT"),
        ("commit;", "COMMIT"),
        ("commit work and chain", "COMMIT"),
        ("end", "COMMIT"),
        ("end transaction", "COMMIT"),
        ("commit prepared 'x'", "COMMIT PREPARED"),
        ("rollback", "ROLLBACK"),
        ("rollback work;", "ROLLBACK"),
        ("rollback and no chain", "ROLLBACK"),
        ("abort", "ROLLBACK"),
        ("rollback to s", "ROLLBACK TO"),
        ("rollback transaction to savepoint s", "ROLLBACK TO"),
        ("rollback prepared 'x'", "ROLLBACK PREPARED"),
        ("savepoint s", "SAVEPOINT"),
        ("release savepoint s", "RELEASE"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION"),
        ("prepare p as select 1", "PREPARE"),
        ("prepare \"p\" as select 1", "PREPARE"),
        ("execute p(1)", "EXECUTE"),
        ("analyse t", "ANALYZE"),
        ("refresh materialized view v", "REFRESH"),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn with_is_named_by_what_follows_and_writes_if_any_part_does() {
    for (sql, expected) in [
        ("with a as (select 1) select * from a", "SELECT"),
        (
            "with a as (select 1), b(x, y) as (values (1, 2)) insert into t select * from b",
            "INSERT",
        ),
        (
            "with recursive a(insert) as (select 1) update t set x = 1",
            "UPDATE",
        ),
        (
            "with \"a\" as not materialized (select 1) delete from t",
            "DELETE",
        ),
        (
            "with a as materialized (delete from t returning *) select * from a",
            "SELECT write",
        ),
        (
            "with a as (select 1), b as (insert into t values (1)) table b",
            "TABLE write",
        ),
        (
            "with a as (update t set x = 1 returning x) select 1 from a",
            "SELECT write",
        ),
        ("with update as (select 1) select * from update", "SELECT"),
        (
            "with a as (select ')' || \") insert\" || $$) delete$$ || $x$ $$ ) $y$ $x$) select 1",
            "SELECT",
        ),
        (
            "with a as (select E'\\') insert' , '\\') select 1",
            "SELECT",
        ),
        (
            "with a as (select e'it''s \\') delete ' -- )\n) select 1",
            "SELECT",
        ),
        ("with a as (select 1 /* ) insert */) select 1", "SELECT"),
        ("with a as (select (select (1)), f(2)) select 1", "SELECT"),
        ("with a as (select $1::int, a$b$ from t) select 1", "SELECT"),
        ("with a as (select 1) (select * from a)", "SELECT"),
        (
            "(with a as (delete from t returning 1) select 1 from a)",
            "SELECT write",
        ),
        (
            "with recursive a as (select 1) search depth first by x, y set z select 1",
            "SELECT",
        ),
        (
            "with recursive a as (select 1) cycle x set c to 'y' default 'n' using p, b as (delete from t) select 1",
            "SELECT write",
        ),
        ("with a as (select 1)", "other"),
        ("with", "other"),
        ("with a as (select 1;", "other"),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn explain_writes_only_when_it_executes_a_write() {
    for (sql, expected) in [
        ("explain select 1", "EXPLAIN"),
        ("explain delete from t", "EXPLAIN"),
        ("explain verbose insert into t values (1)", "EXPLAIN"),
        ("explain analyze select 1", "EXPLAIN"),
        ("explain analyze verbose delete from t", "EXPLAIN write"),
        ("explain analyse insert into t values (1)", "EXPLAIN write"),
        ("explain (analyze) update t set a = 1", "EXPLAIN write"),
        (
            "explain (buffers, analyze true, format json) update t set a = 1",
            "EXPLAIN write",
        ),
        ("explain (analyze false) update t set a = 1", "EXPLAIN"),
        (
            "explain (analyze off, buffers) update t set a = 1",
            "EXPLAIN",
        ),
        ("explain (analyze 0) update t set a = 1", "EXPLAIN"),
        (
            "explain (analyze, buffers off) update t set a = 1",
            "EXPLAIN write",
        ),
        (
            "explain analyze with a as (delete from t) select 1",
            "EXPLAIN write",
        ),
        ("explain analyze with a as (select 1) select 1", "EXPLAIN"),
        (
            "explain analyze create table u as select 1",
            "EXPLAIN write",
        ),
        ("explain (select 1)", "EXPLAIN"),
        ("explain", "EXPLAIN"),
        ("explain (analyze)", "EXPLAIN"),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn copy_writes_when_it_reads_from_the_client() {
    for (sql, expected) in [
        ("copy t from stdin", "COPY write"),
        ("copy s.t (a, \"from\", b) from stdin", "COPY write"),
        ("copy t to stdout", "COPY"),
        ("copy \"from\" to stdout", "COPY"),
        ("copy (select * from t) to stdout", "COPY"),
        ("copy (delete from t returning *) to stdout", "COPY write"),
        ("copy", "COPY"),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn what_is_deallocated_is_named_by_its_hash() {
    let one = |name: &str| Forget::One(hash::bytes(hash::EMPTY, name.as_bytes()));
    for (sql, expected) in [
        ("deallocate all", Forget::All),
        ("deallocate prepare all", Forget::All),
        ("discard all", Forget::All),
        ("discard plans", Forget::Nothing),
        ("deallocate Name_1", one("name_1")),
        (
            "deallocate prepare a_name_longer_than_sixteen_bytes;",
            one("a_name_longer_than_sixteen_bytes"),
        ),
        ("deallocate \"All\"", one("All")),
        ("deallocate \"a\"\"b\";", one("a\"b")),
        ("deallocate", Forget::Nothing),
        ("select 'deallocate all'", Forget::Nothing),
    ] {
        assert_eq!(scan(sql).forget, expected, "{sql}");
    }
}

#[test]
fn the_search_ends_at_its_limits() {
    let spaces = " ".repeat(LIMIT as usize - 7);
    assert_eq!(told(&format!("{spaces}select 1")), "SELECT");
    let (read, verdict) = scan_in(&format!("{spaces}  select 1"), usize::MAX);
    assert_eq!(
        (read, operation_name(verdict.known.operation)),
        (LIMIT as usize, "other")
    );

    let body = "x".repeat(DEEP_LIMIT as usize);
    let long = format!("with a as (delete from t where b = '{body}') select 1");
    let (read, verdict) = scan_in(&long, usize::MAX);
    assert_eq!(read, DEEP_LIMIT as usize);
    assert_eq!(
        (operation_name(verdict.known.operation), verdict.known.class),
        ("other", Class::Write)
    );

    let fits = format!("with a as (select '{}') select 1", &body[..60_000]);
    assert_eq!(told(&fits), "SELECT");
    let nested = "(".repeat(100_000);
    assert_eq!(told(&format!("with a as {nested}")), "other");
}

#[test]
fn the_first_word_decides_as_soon_as_it_ends() {
    assert_eq!(scan_in("select 'a secret'", usize::MAX).0, "select ".len());
    assert_eq!(scan_in("begin", usize::MAX).0, "begin\0".len());
}

/// SQL in which everything can be hidden in everything.
fn tangle() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(vec![
        "select",
        "with",
        "a",
        "as",
        "(",
        ")",
        ",",
        ";",
        "'",
        "\"",
        "E'",
        "\\",
        "$",
        "$x$",
        "$1",
        "--",
        "\n",
        "/*",
        "*/",
        "insert",
        "delete",
        "explain",
        "analyze",
        "copy",
        "from",
        "to",
        " ",
        " ",
        "0",
        "é",
        "deallocate",
        "all",
        "recursive",
    ]);
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_the_same_in_any_pieces(sql in tangle(), piece in 1..9_usize) {
        prop_assert_eq!(scan_in(&sql, piece), scan_in(&sql, usize::MAX));
    }

    #[test]
    fn a_statement_without_its_nul_is_settled_as_one_with_it(sql in tangle()) {
        let mut scanner = Scanner::new();
        let verdict = match scanner.feed(sql.as_bytes()) {
            Some((_, verdict)) => verdict,
            None => scanner.finish(),
        };
        prop_assert_eq!(verdict, scan_in(&sql, usize::MAX).1);
    }
}
