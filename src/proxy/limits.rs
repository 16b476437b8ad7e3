//! How many sessions fit: every one takes two descriptors, and some are kept for everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for the admin endpoint, logs, resolvers and reports, whatever the sessions take.
pub const RESERVE: u64 = 128;

/// What the limit on open descriptors allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors that the process may have open (`RLIMIT_NOFILE`).
    pub descriptors: u64,
    /// Sessions at once.
    pub sessions: usize,
}

impl Limits {
    /// Raises the soft limit to the hard one, and computes what fits beside what is open already and `listeners` listeners.
    pub fn raise(listeners: usize, wanted: Option<u32>) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current < maximum {
            // Refused on some systems for "unlimited"; then the soft limit stays.
            let _ = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: maximum,
                    maximum,
                },
            );
        }
        let descriptors = getrlimit(Resource::Nofile)
            .current
            .unwrap_or(u64::from(u32::MAX));
        Self::of(descriptors, open_now().saturating_add(listeners), wanted)
    }

    /// What fits into so many descriptors, of which so many are taken.
    pub fn of(descriptors: u64, taken: usize, wanted: Option<u32>) -> Self {
        // A small limit keeps a quarter for everything else.
        let reserve = RESERVE.min(descriptors / 4).saturating_add(taken as u64);
        let fits = descriptors.saturating_sub(reserve) / 2;
        let fits = usize::try_from(fits).unwrap_or(usize::MAX).max(1);
        let sessions = wanted.map_or(fits, |n| fits.min(n as usize));
        Self {
            descriptors,
            sessions,
        }
    }
}

/// Keeps a crash from leaving what passes on a disk. One byte and not none: Linux pipes the memory to a collector at a limit of 0,
/// and does not at 1.
pub fn no_core_dump() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let limit = Some(maximum.map_or(1, |most| most.min(1)));
    let lowered = Rlimit {
        current: limit,
        maximum: limit,
    };
    if let Err(error) = setrlimit(Resource::Core, lowered) {
        tracing::warn!(%error, "a crash may leave a core dump, and secrets in it");
    }
}

/// Descriptors that are open, the one that counts them included.
fn open_now() -> usize {
    // Where it cannot be read: standard streams, and a few threads with a poller each.
    std::fs::read_dir("/dev/fd").map_or(32, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_at_every_limit() {
        assert_eq!(Limits::of(20_000, 3, None).sessions, (20_000 - 131) / 2);
        assert_eq!(Limits::of(64, 3, None).sessions, (64 - 16 - 3) / 2);
        assert_eq!(Limits::of(20_000, 3, Some(10)).sessions, 10);
        assert_eq!(Limits::of(64, 3, Some(1000)).sessions, 22);
        assert_eq!(Limits::of(0, 0, None).sessions, 1);
    }
}
