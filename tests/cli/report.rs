//! `brownout report` with documents that somebody wrote by hand, and where it writes.

use crate::support::{Directory, run_to_end};
use crate::{LIMIT, failed};
use std::os::unix::fs::{PermissionsExt, symlink};

/// A report of one part that could not be run.
fn document(profile: &str) -> String {
    format!(
        r#"{{"version":1,"program":"brownout 9.0.0","machine":"a machine","result":"error","runs":[],
            "errors":[{{"profile":"{profile}","why":"the service died"}}]}}"#
    )
}

#[test]
fn a_report_of_another_version_or_type_is_refused_with_its_field_and_a_remedy() {
    let directory = Directory::new("report");
    for (from, to, said) in [
        (
            "\"version\":1",
            "\"version\":2",
            ": version: version 2; this program reads 1; change: use brownout 9.0.0",
        ),
        (
            "\"error\"",
            "\"green\"",
            ": result: unknown variant `green`",
        ),
        (
            "\"the service died\"",
            "[]",
            ": errors[0].why: invalid type: sequence",
        ),
        ("{\"version\"", "[{\"version\"", ": [0]: invalid type: map"),
    ] {
        let text = document("p").replacen(from, to, 1);
        let file = directory.write("report.json", &text);
        let file = file.to_str().expect("a path");
        let refused = failed(run_to_end(&["report", file], LIMIT), 2);
        assert!(refused.starts_with(&format!("{file}{said}")), "{refused}");
        assert!(refused.contains("; change: "), "{refused}");
    }
}

#[test]
fn what_is_written_is_its_owners_alone_and_goes_through_no_link() {
    let directory = Directory::new("report");
    let file = directory.write("report.json", &document("p"));
    let victim = directory.write("victim", "theirs");
    let out = directory.path().join("Page.html");
    let paths = [&file, &out].map(|path| path.to_str().expect("a path"));
    let write = ["report", paths[0], "--html", "-o", paths[1]];
    symlink(&victim, &out).expect("linked");
    let refused = failed(run_to_end(&write, LIMIT), 4);
    assert!(
        refused.contains("it is no regular file; change: "),
        "{refused}"
    );
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "theirs");
    std::fs::remove_file(&out).expect("removed");
    let done = run_to_end(&write, LIMIT);
    assert_eq!(done.code, Some(0), "{done:?}");
    let mode = out.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_comparison_ends_as_it_says() {
    let directory = Directory::new("report");
    let one = directory.write("one.json", &document("p"));
    let other = directory.write("other.json", &document("q"));
    let [one, other] = [&one, &other].map(|path| path.to_str().expect("a path"));
    let same = run_to_end(&["report", "compare", one, one], LIMIT);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(
        same.stdout
            .contains("compared: parts 1, operations 0, tests 0 "),
        "{same:?}"
    );
    let said = failed(run_to_end(&["report", "compare", one, other], LIMIT), 2);
    assert!(said.contains("no part in common"), "{said}");
    let text = run_to_end(&["report", one], LIMIT);
    assert!(
        text.stdout
            .starts_with("Nothing was judged; 1 part could not be run.\n"),
        "{text:?}"
    );
}
