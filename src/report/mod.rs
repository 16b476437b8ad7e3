//! Reports: one document of a suite, and the forms in which people and programs read it.
//!
//! [`traffic`] counts a recording by second, phase and operation; [`suite`] is the document, versioned and read back by `brownout
//! report`; each form is a file behind [`Form`]. No form computes anything of the service: what it shows stands in the document.

mod advice;
pub(crate) mod again;
pub(crate) mod compare;
pub(crate) mod configuration;
pub(crate) mod csv;
pub(crate) mod events;
pub(crate) mod figure;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod junit;
pub(crate) mod ledger;
mod margin;
pub(crate) mod markdown;
mod part;
pub(crate) mod read;
mod scene;
mod steps;
mod story;
pub(crate) mod suite;
pub(crate) mod svg;
mod tables;
pub(crate) mod text;
pub(crate) mod traffic;

#[cfg(test)]
mod tests;

pub(crate) use suite::Suite;

/// Why a report cannot be written in a form.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be written as {form}: {why}")]
pub(crate) struct FormError {
    /// The name of the form.
    pub(crate) form: &'static str,
    /// What its writer says.
    pub(crate) why: String,
}

/// A form of the report.
pub(crate) trait Form {
    /// The whole report.
    ///
    /// # Errors
    /// Its writer cannot say something that is in it.
    fn render(&self, suite: &Suite) -> Result<String, FormError>;
}
