//! SQL text to tokens.

use super::sql::SqlError;

/// Bytes of one query.
const MAX_QUERY: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name, folded to lower case.
    Word(String),
    /// A name in double quotes, as written.
    Name(String),
    Integer(i64),
    Text(String),
    /// `$1` is 0.
    Parameter(usize),
    /// Punctuation and operators.
    Symbol(&'static str),
}

/// Longer ones first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 15] = [
    "<=", ">=", "<>", "!=", "::", "(", ")", ",", ";", "=", "<", ">", "*", "-", ".",
];

/// Splits text into tokens.
///
/// # Errors
/// `feature_not_supported` for characters that no supported statement has, `syntax_error` for a literal that does not end.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    if sql.len() > MAX_QUERY {
        return Err(SqlError::new("54000", "query too long"));
    }
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            let (token, after) = token(rest, first)?;
            tokens.push(token);
            rest = after;
        }
    }
    Ok(tokens)
}

fn token(rest: &str, first: char) -> Result<(Token, &str), SqlError> {
    if first.is_alphabetic() || first == '_' {
        let (word, after) = split(rest, |c| c.is_alphanumeric() || c == '_');
        return Ok((Token::Word(word.to_lowercase()), after));
    }
    if first.is_ascii_digit() {
        let (digits, after) = split(rest, |c| c.is_ascii_digit());
        let n = digits
            .parse()
            .map_err(|_| SqlError::new("22003", format!("{digits} is out of range")))?;
        return Ok((Token::Integer(n), after));
    }
    match (first, rest.get(1..)) {
        ('\'', Some(inside)) => {
            let (text, after) = quoted(inside, '\'')?;
            Ok((Token::Text(text), after))
        }
        ('"', Some(inside)) => {
            let (name, after) = quoted(inside, '"')?;
            Ok((Token::Name(name), after))
        }
        ('$', Some(inside)) if inside.starts_with(|c: char| c.is_ascii_digit()) => {
            let (digits, after) = split(inside, |c| c.is_ascii_digit());
            // The protocol counts parameters in 16 bits.
            let n = digits.parse::<u16>().ok().and_then(|n| n.checked_sub(1));
            let n = n.ok_or_else(|| {
                SqlError::new("42P02", format!("there is no parameter ${digits}"))
            })?;
            Ok((Token::Parameter(n.into()), after))
        }
        _ => SYMBOLS
            .iter()
            .find_map(|symbol| Some((Token::Symbol(symbol), rest.strip_prefix(symbol)?)))
            .ok_or_else(|| SqlError::unsupported(format!("\"{first}\" is not supported here"))),
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// The inside of a literal, and what comes after it. The quote itself is written twice inside.
fn quoted(inside: &str, quote: char) -> Result<(String, &str), SqlError> {
    let mut text = String::new();
    let mut rest = inside;
    while let Some((part, after)) = rest.split_once(quote) {
        text.push_str(part);
        let Some(again) = after.strip_prefix(quote) else {
            return Ok((text, after));
        };
        text.push(quote);
        rest = again;
    }
    Err(SqlError::new("42601", "unterminated quoted string"))
}
