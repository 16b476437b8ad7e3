//! `reset_peer`: the first bytes of one direction vanish, and the session is reset.

use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;

use super::CloseHow;
use super::stream_cut::{CutFrom, StreamCut};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["close_after", "on"];

pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> StreamCut {
    StreamCut::check(spec, problems);
    StreamCut {
        on: spec.on.unwrap_or_default(),
        from: CutFrom::Bytes(0),
        close_after: Some(spec.close_after.unwrap_or_default()),
        how: CloseHow::Rst,
    }
}
