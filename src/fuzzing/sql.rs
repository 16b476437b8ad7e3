//! The literal-free form of SQL: what matching by statement looks at, of any bytes.

use crate::protocol::postgres::{Statement, TEXT_LIMIT};

/// What a reader may not let through, wherever it stands in what is quoted.
const SECRET: &[u8] = b"s3cr3t";

/// Any bytes are read, into no more than they are; what is put between quotes that nothing ends is in no form.
///
/// The first byte says whether backslashes escape, and how the secret is quoted that is added behind the rest.
pub fn sql(input: &[u8]) {
    let Some((&how, sql)) = input.split_first() else {
        return;
    };
    let escapes = how % 2 == 1;
    let statement = Statement::of(sql, escapes);
    // A number of one digit becomes `?`, and nothing becomes longer.
    assert!(statement.text().len() <= sql.len().min(TEXT_LIMIT));
    assert!(
        statement
            .tables()
            .iter()
            .all(|table| table.full().ends_with(table.bare()))
    );
    let again = Statement::of(sql, escapes);
    assert_eq!(again.text(), statement.text());
    assert_eq!(again.hash(), statement.hash());

    let (open, close): (&[u8], &[u8]) = [
        (&b" '"[..], &b"'"[..]),
        (b" E'", b"'"),
        (b" $tag$", b"$tag$"),
        (b" --", b"\n"),
        (b" /*", b"*/"),
    ][usize::from(how / 2 % 5)];
    let mut whole = b"select".to_vec();
    for part in [open, SECRET, b" ", sql, SECRET] {
        whole.extend_from_slice(part);
    }
    // What stands in `sql` may end the quotes, and then the second one is not in them.
    let line = |byte| close == b"\n" && byte == b'\r';
    let ends = sql.windows(close.len()).any(|w| w == close)
        || sql.iter().any(|byte| *byte == 0 || line(*byte));
    let shows = |text: &[u8]| text.windows(SECRET.len()).any(|w| w == SECRET);
    let text = Statement::of(&whole, escapes);
    assert!(ends || shows(sql) || !shows(text.text()));
}
