//! What several questions need of one dependency, worked out when the first of them asks.

use super::calls::{Calls, Reading};
use super::demand::Demand;
use super::finding::Unknown;
use super::view::{Span, View};
use crate::measure::trace::ProxyIndex;
use std::sync::OnceLock;

/// Of one proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    apart: OnceLock<Calls>,
    joined: OnceLock<Calls>,
    demand: OnceLock<Result<Demand, Unknown>>,
    affected: OnceLock<Option<Span>>,
}

impl View<'_> {
    /// From the first request that a fault touched on this proxy to the last reply that one touched. This, not the switching
    /// of the fault, is when the client could notice.
    pub fn affected(&self, proxy: ProxyIndex) -> Option<Span> {
        let look = || self.passed(proxy).affected();
        *self.memo(proxy).affected.get_or_init(look)
    }

    /// The calls to a proxy, in one of the two readings.
    pub fn calls(&self, proxy: ProxyIndex, reading: Reading) -> &Calls {
        let memo = self.memo(proxy);
        let kept = match reading {
            Reading::Apart => &memo.apart,
            Reading::Joined => &memo.joined,
        };
        kept.get_or_init(|| Calls::of(self, proxy, reading))
    }

    /// The calls that a request of the service's own API causes at a proxy.
    ///
    /// # Errors
    /// There are no requests of the service's own, or too few; or calls failed before any fault.
    pub fn demand(&self, proxy: ProxyIndex) -> Result<&Demand, &Unknown> {
        let learn = || Demand::learn(self, self.calls(proxy, Reading::Joined));
        self.memo(proxy).demand.get_or_init(learn).as_ref()
    }
}
