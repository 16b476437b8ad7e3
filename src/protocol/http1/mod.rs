//! Decoder of HTTP/1.0 and HTTP/1.1 (RFC 9112).

mod decoder;
mod routes;

pub use decoder::Decoder;
pub use routes::Routes;
