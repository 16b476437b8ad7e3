//! The cap on the number of series.

use crate::measure::ProxyId;
use std::collections::HashMap;

/// Series that `/metrics` shows at most.
pub const MAX_SERIES: usize = 10_000;

/// Of these, kept for what the process says of itself and of its faults.
pub(crate) const OWN_SERIES: usize = 520;

/// Series that belong to no proxy.
const GLOBAL: usize = 4;

/// What a group of series takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Counters and gauges.
    pub(super) plain: usize,
    /// Histograms, each as many series as the grid says.
    pub(super) histograms: usize,
}

/// Groups of series that are shown. First come, first served, so that what is shown once stays; the rest is refused.
#[derive(Debug)]
pub(super) struct Series {
    max: usize,
    shown: HashMap<(ProxyId, String), Cost>,
    plain: usize,
    histograms: usize,
    refused: usize,
}

impl Series {
    /// No series yet, of at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            shown: HashMap::new(),
            plain: GLOBAL,
            histograms: 0,
            refused: 0,
        }
    }

    /// Begins a scrape: forgets the proxies that are no more.
    pub(super) fn begin(&mut self, known: impl Fn(ProxyId) -> bool) {
        self.shown.retain(|(proxy, _), _| known(*proxy));
        self.plain = GLOBAL + self.shown.values().map(|c| c.plain).sum::<usize>();
        self.histograms = self.shown.values().map(|c| c.histograms).sum();
        self.refused = 0;
    }

    /// Whether a group may be shown, where a histogram takes `width` series.
    pub(super) fn admit(
        &mut self,
        proxy: ProxyId,
        group: String,
        cost: Cost,
        width: usize,
    ) -> bool {
        let key = (proxy, group);
        if self.shown.contains_key(&key) {
            return true;
        }
        let (plain, histograms) = (self.plain + cost.plain, self.histograms + cost.histograms);
        if plain + histograms * width > self.max {
            self.refused += 1;
            return false;
        }
        (self.plain, self.histograms) = (plain, histograms);
        self.shown.insert(key, cost);
        true
    }

    /// Whether all histograms may take `width` series.
    pub(super) fn fits(&self, width: usize) -> bool {
        self.plain + self.histograms * width <= self.max
    }

    /// Series shown at most, where a histogram takes `width`.
    pub(super) fn used(&self, width: usize) -> usize {
        self.plain + self.histograms * width
    }

    /// Groups refused since [`Self::begin`].
    pub(super) fn refused(&self) -> usize {
        self.refused
    }
}
