//! Decoder of HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! - [`Decoder`]: both directions of a session, tracked apart: a reply may be complete before its request is.
//! - [`Routes`]: what an exchange is called, `GET /modules/{id}`, bounded in number.
//! - [`inject`]: replies of our own, and a look at the headers of one request.
//!
//! Where two readers of one message could disagree about its end, the decoder does not choose: it gives up on the session
//! ([`Lost`](crate::protocol::Lost)). That covers Content-Length beside Transfer-Encoding, lengths that differ, transfer codings
//! that are unknown or do not end in `chunked` (in a request), folded header lines, white space around a header's name, a
//! bare CR, and NUL. Two things are read leniently, as RFC 9112 section 2.2 allows: a lone LF ends a start line or a header
//! line, and empty lines before a request are skipped. A lone LF within the chunked coding is not covered by that section
//! and is malformed.

mod body;
mod decoder;
mod fields;
pub mod inject;
mod method;
mod reply;
mod request;
mod routes;
mod scan;
#[cfg(test)]
mod tests;

pub use decoder::{BodyLeft, Decoder};
pub use method::METHODS;
pub use routes::{FIXED as FIXED_ROUTES, Routes};
