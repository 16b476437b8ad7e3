//! JUnit XML, as Jenkins and GitLab take it: a run is a test suite, an expectation a test case.

use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::verdict::Verdict;
use crate::verify::written::Severity;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// Failures fail, what is inconclusive is skipped with its reason, a run that came to no end is an error.
#[derive(Debug)]
pub(crate) struct Junit;

impl Form for Junit {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        let mut report = Report::new("brownout");
        for run in &suite.runs {
            let mut cases = TestSuite::new(plain(&run.profile));
            cases.add_property(("again", plain(&run.command()).as_str()));
            for row in &run.expectations {
                let phases = if row.phases.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", row.phases.join(", "))
                };
                let name = plain(&format!("{}: {}{phases}", row.component, row.target));
                let mut case = TestCase::new(name, status(&row.verdict, row.severity));
                case.set_classname(plain(&run.profile));
                case.set_system_out(plain(&format!(
                    "measured {}, {} samples, {}",
                    row.measured, row.samples, row.field
                )));
                cases.add_test_case(case);
            }
            report.add_test_suite(cases);
        }
        for broken in &suite.errors {
            let mut cases = TestSuite::new(plain(&broken.profile));
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(plain(&broken.why));
            cases.add_test_case(TestCase::new("the run", status));
            report.add_test_suite(cases);
        }
        report.to_string().map_err(|error| FormError {
            form: "JUnit",
            why: error.to_string(),
        })
    }
}

fn status(verdict: &Verdict, severity: Severity) -> TestCaseStatus {
    match (verdict, severity) {
        (Verdict::Pass, _) => TestCaseStatus::success(),
        (Verdict::Fail { why }, Severity::Limit) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(plain(why));
            status
        }
        (Verdict::Error { why }, _) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(plain(why));
            status
        }
        (Verdict::Fail { why }, Severity::Alert) => skipped(&format!("alert raised: {why}")),
        (Verdict::Inconclusive { reason, remedy }, _) => {
            skipped(&format!("inconclusive: {reason}; change: {remedy}"))
        }
    }
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(plain(why));
    status
}
