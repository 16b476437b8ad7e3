//! Reports: one document of a suite, and the forms in which people and programs read it.
//!
//! [`traffic`] counts a recording by second, phase and operation; [`suite`] is the document, versioned and read back by `brownout
//! report`; each form is a file behind [`Form`]. No form computes anything of the service: what it shows stands in the document.

pub(crate) mod compare;
pub(crate) mod csv;
pub(crate) mod figure;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod suite;
pub(crate) mod svg;
pub(crate) mod text;
pub(crate) mod traffic;

#[cfg(test)]
mod tests;

pub(crate) use suite::Suite;

/// A form of the report.
pub(crate) trait Form {
    /// The whole report.
    fn render(&self, suite: &Suite) -> String;
}
