//! JUnit XML, as Jenkins and GitLab take it: a run is a test suite, an expectation a test case.

use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::document::Row;
use crate::verify::verdict::Standing;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// Failures fail, what is inconclusive is skipped with its reason, a run that came to no end is an error, one that a guard ended a failure.
#[derive(Debug)]
pub(crate) struct Junit;

impl Form for Junit {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        let mut report = Report::new("brownout");
        for run in &suite.runs {
            let mut cases = TestSuite::new(plain(&run.profile));
            cases.add_property(("again", plain(&run.command()).as_str()));
            for row in &run.expectations {
                let phases = match row.phases.as_slice() {
                    [] => String::new(),
                    some => format!(" [{}]", some.join(", ")),
                };
                // Of cases of one name GitLab keeps the last, and components may be called alike.
                let (component, target, field) = (&row.component, &row.target, &row.field);
                let name = plain(&format!("{component}: {target}{phases} ({field})"));
                let mut case = TestCase::new(name, status(row));
                case.set_classname(plain(&run.profile));
                case.set_system_out(plain(&format!(
                    "measured {}, {} samples, {}",
                    row.measured, row.samples, row.field
                )));
                cases.add_test_case(case);
            }
            report.add_test_suite(cases);
        }
        for part in suite.unfinished() {
            let mut cases = TestSuite::new(plain(part.profile));
            let kind = match part.standing {
                Standing::Broken => NonSuccessKind::Error,
                _ => NonSuccessKind::Failure,
            };
            let status = without_success(kind, &format!("{}: {}", part.what, part.why));
            cases.add_test_case(TestCase::new("the run", status));
            report.add_test_suite(cases);
        }
        report.to_string().map_err(|error| FormError {
            form: "JUnit",
            why: error.to_string(),
        })
    }
}

fn status(row: &Row) -> TestCaseStatus {
    let Some(why) = row.why() else {
        return TestCaseStatus::success();
    };
    let why = why.whole();
    match row.standing() {
        Standing::Failed => without_success(NonSuccessKind::Failure, &why),
        Standing::Broken => without_success(NonSuccessKind::Error, &why),
        Standing::Raised => skipped(&format!("alert raised: {why}")),
        Standing::Open | Standing::Passed | Standing::Quiet => {
            skipped(&format!("inconclusive: {why}"))
        }
    }
}

fn without_success(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(plain(why));
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(plain(why));
    status
}
