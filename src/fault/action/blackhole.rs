//! `blackhole`: the bytes of one direction vanish; after a while the session is closed.
//!
//! What has vanished leaves a hole in the stream, so the session is closed when the fault ends, too.

use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;

use super::CloseHow;
use super::stream_cut::{CutFrom, StreamCut};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["close_after", "on"];

pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> StreamCut {
    StreamCut::check(spec, problems);
    if spec.close_after.is_some_and(|after| after.is_zero()) {
        problems.add(
            "close_after",
            "nothing would vanish in no time",
            "write a duration above zero, or leave it out: then the connection is kept until the fault ends",
        );
    }
    StreamCut {
        on: spec.on.unwrap_or_default(),
        from: CutFrom::Start,
        close_after: spec.close_after,
        how: CloseHow::Fin,
    }
}
