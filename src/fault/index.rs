//! Which faults of a plan are about an operation: answered once for each operation, then looked up.
//!
//! Operations of HTTP are learned while the proxy runs, so the answer cannot be computed ahead for all of them. It is computed
//! when an operation is first seen, for all classes at once, and kept in a table of two levels, of which only the pages that
//! are used exist. Reading takes no lock.

use std::sync::OnceLock;

use super::arguments::Request;
use super::keyed::Keyed;
use crate::protocol::{Class, Operation, Protocol};

/// Operations in a page, and pages: together all values of [`Operation`].
const PAGE: usize = 256;

/// The faults that are about one operation and class.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Positions in the plan, ascending.
    pub(super) entries: Vec<u16>,
    /// Whether one of them looks into the request.
    pub(super) needs_arguments: bool,
    /// Where several of them ask for keys.
    pub(super) keyed: Option<Keyed>,
}

impl Candidates {
    /// Those that can be about this request.
    #[inline]
    pub(super) fn about(&self, request: &Request<'_>) -> &[u16] {
        match &self.keyed {
            Some(keyed) if !keyed.takes(request) => &keyed.others,
            _ => &self.entries,
        }
    }

    /// Whether none of them can be about this request, all of which is given.
    pub(super) fn pass_over(&self, protocol: Protocol, request: &[u8]) -> bool {
        let keyed = self.keyed.as_ref().filter(|k| k.others.is_empty());
        keyed.is_some_and(|keyed| !keyed.takes(&Request::new(protocol, request)))
    }
}

type ByClass = Box<[Candidates; Class::ALL.len()]>;
type Page = Box<[OnceLock<ByClass>]>;

/// Candidates by operation and class.
#[derive(Debug, Default)]
pub(super) struct OperationIndex {
    pages: Box<[OnceLock<Page>]>,
}

impl OperationIndex {
    /// An index that knows nothing yet. The default one never will: it is that of an empty plan.
    pub(super) fn new() -> Self {
        Self { pages: empty() }
    }

    /// The candidates, from `resolve` (one for each class, in the order of [`Class::ALL`]) at the first time.
    #[inline]
    pub(super) fn get(
        &self,
        operation: Operation,
        class: Class,
        resolve: impl FnOnce() -> [Candidates; Class::ALL.len()],
    ) -> &Candidates {
        let number = usize::from(operation.0);
        let page = self.pages[number / PAGE].get_or_init(empty);
        let by_class = page[number % PAGE].get_or_init(|| Box::new(resolve()));
        &by_class[class as usize]
    }
}

fn empty<T>() -> Box<[OnceLock<T>]> {
    (0..PAGE).map(|_| OnceLock::new()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_for_each_operation_and_keeps_classes_apart() {
        let index = OperationIndex::new();
        for number in [0, 1, 255, 256, u16::MAX] {
            let mut asked = 0;
            for _ in 0..2 {
                for (at, class) in (0..).zip(Class::ALL) {
                    let found = index.get(Operation(number), class, || {
                        asked += 1;
                        std::array::from_fn(|at| Candidates {
                            entries: vec![number, at as u16],
                            ..Candidates::default()
                        })
                    });
                    assert_eq!(found.entries, [number, at]);
                }
            }
            assert_eq!(asked, 1);
        }
    }
}
