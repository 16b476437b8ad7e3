//! Equal exchanges in a row, as a pipeline makes them: counted at once.

use crate::measure::{ProxyId, Sample, Shard};
use crate::protocol::{Class, Operation};

/// Exchanges that began, one after another, with the same operation.
#[derive(Debug)]
pub(crate) struct Begun {
    proxy: ProxyId,
    of: Option<(Operation, Class)>,
    n: u64,
}

impl Begun {
    pub(crate) fn new(proxy: ProxyId) -> Self {
        Self {
            proxy,
            of: None,
            n: 0,
        }
    }

    /// One more.
    #[inline]
    pub(crate) fn add(&mut self, operation: Operation, class: Class, shard: &mut Shard) {
        if self.of != Some((operation, class)) {
            self.tell(shard);
            self.of = Some((operation, class));
            self.n = 0;
        }
        self.n += 1;
    }

    /// Counts what was added since the last time.
    #[inline]
    pub(crate) fn tell(&mut self, shard: &mut Shard) {
        if let Some((operation, class)) = self.of.take() {
            shard.started_row(self.proxy, operation, class, self.n);
        }
    }
}

/// Exchanges that ended, one after another, and differ in nothing but their sizes.
#[derive(Debug)]
pub(crate) struct Ended {
    proxy: ProxyId,
    /// With the sums of the sizes.
    sample: Option<Sample>,
    n: u64,
}

impl Ended {
    pub(crate) fn new(proxy: ProxyId) -> Self {
        Self {
            proxy,
            sample: None,
            n: 0,
        }
    }

    /// One more, of which no fault made the three durations differ.
    #[inline]
    pub(crate) fn add(&mut self, sample: Sample, shard: &mut Shard) {
        match &mut self.sample {
            Some(sum)
                if sum.client == sample.client
                    && sum.operation == sample.operation
                    && sum.class == sample.class
                    && sum.status == sample.status =>
            {
                sum.request_bytes += sample.request_bytes;
                sum.reply_bytes += sample.reply_bytes;
                self.n += 1;
            }
            _ => {
                self.tell(shard);
                self.sample = Some(sample);
                self.n = 1;
            }
        }
    }

    /// Counts what was added since the last time.
    #[inline]
    pub(crate) fn tell(&mut self, shard: &mut Shard) {
        if let Some(sample) = self.sample.take() {
            shard.completed_row(self.proxy, &sample, self.n);
        }
    }
}
