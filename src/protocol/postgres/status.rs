//! The closed table of statuses: SQLSTATE codes worth a name of their own, the class of every other one, and `skipped`.
//!
//! Codes and classes are those of the manual's appendix "PostgreSQL Error Codes".

use crate::protocol::Status;

/// Codes with a status of their own, in ascending order: their status is their index plus one.
#[rustfmt::skip]
static CODES: &[&str] = &[
    "08000", "08001", "08003", "08004", "08006", "08007", "08P01",
    "0A000",
    "21000",
    "22000", "22001", "22003", "22007", "22008", "22012", "22021", "22023", "22P02", "22P03", "22P05",
    "23000", "23001", "23502", "23503", "23505", "23514", "23P01",
    "24000",
    "25000", "25001", "25006", "25P01", "25P02", "25P03", "25P04",
    "26000",
    "28000", "28P01",
    "34000",
    "3B001",
    "3D000",
    "3F000",
    "40000", "40001", "40002", "40003", "40P01",
    "42501", "42601", "42602", "42622", "42701", "42702", "42703", "42704", "42710", "42723", "42725", "42803", "42804",
    "42883", "42P01", "42P02", "42P03", "42P04", "42P05", "42P06", "42P07", "42P08", "42P10", "42P18",
    "53000", "53100", "53200", "53300", "53400",
    "54000", "54001", "54011", "54023",
    "55000", "55006", "55P02", "55P03",
    "57000", "57014", "57P01", "57P02", "57P03", "57P04", "57P05",
    "58000", "58030", "58P01",
    "P0001", "P0002", "P0003", "P0004",
    "XX000", "XX001", "XX002",
];

/// Every class of the appendix, in ascending order: the status of a code that has none of its own.
#[rustfmt::skip]
static CLASSES: &[&str] = &[
    "00xxx", "01xxx", "02xxx", "03xxx", "08xxx", "09xxx", "0Axxx", "0Bxxx", "0Fxxx", "0Lxxx", "0Pxxx", "0Zxxx", "20xxx",
    "21xxx", "22xxx", "23xxx", "24xxx", "25xxx", "26xxx", "27xxx", "28xxx", "2Bxxx", "2Dxxx", "2Fxxx", "34xxx", "38xxx",
    "39xxx", "3Bxxx", "3Dxxx", "3Fxxx", "40xxx", "42xxx", "44xxx", "53xxx", "54xxx", "55xxx", "57xxx", "58xxx", "72xxx",
    "F0xxx", "HVxxx", "P0xxx", "XXxxx",
];

/// The server never looked at it: an earlier message of the same batch failed.
pub const SKIPPED: Status = Status(1000);

/// An SQLSTATE of no known class, or none at all.
pub const OTHER: Status = Status(1001);

/// Status numbers of classes begin here.
const CLASS_BASE: u16 = 500;

/// The status of an SQLSTATE; [`OTHER`] for bytes that are none.
pub fn of_sqlstate(code: [u8; 5]) -> Status {
    if let Ok(i) = CODES.binary_search_by(|known| known.as_bytes().cmp(&code)) {
        return Status(i as u16 + 1);
    }
    let class = [code[0], code[1], b'x', b'x', b'x'];
    match CLASSES.binary_search_by(|known| known.as_bytes().cmp(&class)) {
        Ok(i) => Status(CLASS_BASE + i as u16),
        Err(_) => OTHER,
    }
}

/// The name of a status: an SQLSTATE (`40001`), a class (`23xxx`), `skipped` or `other`.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::OK => "ok",
        SKIPPED => "skipped",
        _ => code(status).unwrap_or("other"),
    }
}

/// Whether a status means that the server failed, as opposed to an answer that the application's own statement earned: lost
/// connections (08), rollbacks forced by concurrency (40), resources (53), locks not granted (55P03), intervention and
/// shutdown (57), the system below (58), broken configuration or data (F0, XX), foreign servers (HV), snapshots (72), writes
/// refused after a failover (25006). What the table does not know counts as a failure.
pub fn is_failure(status: Status) -> bool {
    match status {
        Status::OK | SKIPPED => false,
        _ => code(status).is_none_or(|code| {
            matches!(code, "25006" | "55P03")
                || matches!(
                    &code[..2],
                    "08" | "40" | "53" | "57" | "58" | "72" | "F0" | "HV" | "XX"
                )
        }),
    }
}

fn code(status: Status) -> Option<&'static str> {
    let table = if status.0 < CLASS_BASE {
        CODES.get(usize::from(status.0).checked_sub(1)?)
    } else {
        CLASSES.get(usize::from(status.0 - CLASS_BASE))
    };
    table.copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> Status {
        of_sqlstate(code.as_bytes().try_into().unwrap())
    }

    #[test]
    fn tables_are_sorted_and_fit_their_numbers() {
        assert!(CODES.is_sorted() && CLASSES.is_sorted());
        assert!(CODES.len() >= 60 && CODES.len() < usize::from(CLASS_BASE));
        assert!(CLASSES.len() < usize::from(SKIPPED.0 - CLASS_BASE));
    }

    #[test]
    fn every_known_code_and_class_keeps_its_name() {
        for code in CODES {
            assert_eq!(status_name(of(code)), *code);
        }
        for class in CLASSES {
            assert_eq!(status_name(of(class)), *class);
        }
    }

    #[test]
    fn an_unknown_code_is_its_class_and_an_unknown_class_is_other() {
        assert_eq!(status_name(of("23ZZZ")), "23xxx");
        assert_eq!(status_name(of("99999")), "other");
        assert_eq!(of_sqlstate([0; 5]), OTHER);
        assert_eq!(status_name(Status(777)), "other");
    }

    #[test]
    fn what_a_server_in_trouble_says_is_known_and_a_failure() {
        for code in [
            "40001", "40P01", "55P03", "57014", "57P01", "57P03", "53300", "25006", "53100",
            "53200", "08006",
        ] {
            let status = of(code);
            assert_eq!(status_name(status), code);
            assert!(is_failure(status), "{code}");
        }
    }

    #[test]
    fn the_application_s_own_errors_are_no_failures() {
        for code in [
            "23505", "23ZZZ", "22012", "42P01", "42601", "25P02", "P0001", "0A000", "28P01",
        ] {
            assert!(!is_failure(of(code)), "{code}");
        }
        for code in [
            "40001", "40P01", "53300", "57P01", "57014", "08006", "08ZZZ", "XX000", "99999",
        ] {
            assert!(is_failure(of(code)), "{code}");
        }
        assert!(!is_failure(Status::OK) && !is_failure(SKIPPED));
    }
}
