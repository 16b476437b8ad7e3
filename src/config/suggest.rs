//! The nearest valid name for a misspelt one.

/// Names longer than this are not compared: the distance costs time in the product of both lengths.
const MAX_LEN: usize = 64;

/// The candidate that a person most likely meant: at most a third of its letters away, and nearer than all others.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = distance(&name, &candidate.to_lowercase())?;
            let allowed = candidate.chars().count().max(3) / 3;
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours. `None` for long names.
fn distance(a: &str, b: &str) -> Option<usize> {
    let a: Vec<char> = a.chars().take(MAX_LEN + 1).collect();
    let b: Vec<char> = b.chars().take(MAX_LEN + 1).collect();
    if a.len() > MAX_LEN || b.len() > MAX_LEN {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i);
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied()
}

/// `redis, postgres, http or tcp`.
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        [only] => (*only).into(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 5] = ["name", "protocol", "listen", "upstream", "slo"];

    #[test]
    fn finds_what_was_meant() {
        for (wrong, right) in [
            ("upsteam", "upstream"),
            ("usptream", "upstream"),
            ("Listen", "listen"),
            ("protcol", "protocol"),
            ("nmae", "name"),
            ("sol", "slo"),
        ] {
            assert_eq!(nearest(wrong, FIELDS), Some(right), "{wrong}");
        }
    }

    #[test]
    fn does_not_guess_wildly() {
        for wrong in ["", "zzz", "timeout", &"u".repeat(1_000)] {
            assert_eq!(nearest(wrong, FIELDS), None, "{wrong}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), Some(3));
        assert_eq!(distance("abc", "abc"), Some(0));
        assert_eq!(distance("ab", "ba"), Some(1));
        assert_eq!(distance("kitten", "sitting"), Some(3));
    }

    #[test]
    fn lists_names_as_a_sentence() {
        assert_eq!(one_of(&["a"]), "a");
        assert_eq!(one_of(&["a", "b", "c"]), "a, b or c");
    }
}
