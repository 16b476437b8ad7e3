//! `limit_data`: so many bytes of one direction go, then the session is closed.

use std::time::Duration;

use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;

use super::CloseHow;
use super::stream_cut::{CutFrom, StreamCut};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["bytes", "on"];

pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<StreamCut> {
    StreamCut::check(spec, problems);
    let Some(bytes) = spec.bytes else {
        problems.missing("bytes", "`limit_data`", "bytes = 1024");
        return None;
    };
    Some(StreamCut {
        on: spec.on.unwrap_or_default(),
        from: CutFrom::Bytes(bytes),
        close_after: Some(Duration::ZERO),
        how: CloseHow::Fin,
    })
}
