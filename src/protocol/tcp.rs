//! Plain TCP: nothing is decoded. A *burst*, the bytes that arrived together, stands in for the exchange where a fault needs one.

use super::{Class, Operation};

/// The only operation of a plain TCP proxy: a burst of bytes in either direction.
pub const BURST: Operation = Operation(0);

/// Its name.
pub const BURST_NAME: &str = "burst";

/// Its class.
pub const BURST_CLASS: Class = Class::Admin;
