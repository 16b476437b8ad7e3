//! `docs/adding-a-fault.md` and `docs/faults.md` against the code: every action has its file, its row and its example, and
//! what the pages name is there.

use brownout::config::{Profile, schema};
use brownout::fault::spec::ActionKind;
use std::collections::BTreeSet;
use std::path::Path;

const GUIDE: &str = include_str!("../docs/adding-a-fault.md");
const FAULTS: &str = include_str!("../docs/faults.md");
const README: &str = include_str!("../README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Fenced blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let rest = text.split(&fence).skip(1);
    rest.map(|block| block.split("```").next().unwrap_or_default())
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Actions that share a file are two sides of one.
fn file_of(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::LoseRequest | ActionKind::LoseReply => "lose",
        ActionKind::PushLoss | ActionKind::PushDelay => "push",
        other => other.name(),
    }
}

#[test]
fn every_action_has_its_file_and_is_told_of() {
    for kind in ActionKind::ALL {
        let name = kind.name();
        let file = format!("{ROOT}/src/fault/action/{}.rs", file_of(kind));
        let source = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            source.starts_with("//! ") && source.contains(&format!("`{name}`")),
            "{file} does not begin with what `{name}` is"
        );
        let row = format!("\n| `{name}` | ");
        assert!(FAULTS.contains(&row), "docs/faults.md: no row of {name}");
        assert!(
            README.contains(&format!("`{name}`")),
            "README.md: no {name}"
        );
    }
}

#[test]
fn the_list_of_actions_is_whole() {
    let schema = serde_json::to_value(schema::profile()).expect("JSON");
    let kinds = &schema["$defs"]["ActionKind"];
    let of = |list: &serde_json::Value, key: Option<&str>| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| key.map_or(one, |key| &one[key]).as_str())
            .map(str::to_owned)
            .collect()
    };
    let mut known = of(&kinds["oneOf"], Some("const"));
    known.extend(of(&kinds["enum"], None));
    let known: BTreeSet<String> = known.into_iter().collect();
    let listed = ActionKind::ALL.map(|kind| kind.name().to_owned());
    assert_eq!(known, BTreeSet::from(listed), "ActionKind::ALL");
}

#[test]
fn every_example_is_a_valid_profile() {
    let examples = blocks(FAULTS, "toml");
    assert!(examples.len() >= 5, "{}", examples.len());
    for example in examples {
        Profile::parse("faults", example, "docs/faults.md").unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn the_file_that_is_shown_is_the_file() {
    let file = include_str!("../src/fault/action/reset_peer.rs");
    assert_eq!(blocks(GUIDE, "rust"), [file]);
}

#[test]
fn what_the_guide_names_is_there() {
    let prose: String = GUIDE.split("```").step_by(2).collect();
    let mut paths = 0;
    for name in quoted(&prose) {
        let is_path = name.starts_with("src/") || name.starts_with("tests/");
        let is_page =
            name.starts_with("docs/") || Path::new(name).extension().is_some_and(|e| e == "md");
        if (is_path || is_page) && !name.contains("NAME") {
            paths += 1;
            assert!(Path::new(ROOT).join(name).exists(), "there is no {name}");
        }
    }
    assert!(paths > 10, "only {paths} paths were found");
    for (file, words) in [
        (
            "action.rs",
            &["actions! {", "trait Acts", "fn effect", "fn given"][..],
        ),
        ("spec.rs", &["fn new"]),
    ] {
        let source = std::fs::read_to_string(format!("{ROOT}/src/fault/{file}")).expect(file);
        for word in words {
            assert!(source.contains(word), "{file}: no {word}");
        }
    }
    // The row that is shown is the row.
    let table = include_str!("../src/fault/action.rs");
    let row = blocks(GUIDE, "text")[0];
    assert!(row.contains("reset_peer::compile") && table.contains(row));
}

/// One file and one row are all that an action has of its own, beside the module's line.
#[test]
fn no_other_code_of_faults_lists_the_actions() {
    let kinds = ActionKind::ALL.map(|kind| format!("ActionKind::{kind:?}"));
    let mut files = vec![Path::new(ROOT).join("src/fault")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).expect("a folder");
            files.extend(inside.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a file");
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let named = kinds.iter().filter(|kind| code.contains(*kind)).count();
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
        assert!(is_test || named <= 2, "{}: {named} actions", path.display());
    }
}
