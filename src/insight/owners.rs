//! Whose connections they are.
//!
//! Owners are looked up while the service runs, so those of short connections may be missing. Calls whose maker is known only half
//! would be taken for those of two makers: either all are known, or none is used.

use super::view::Passed;
use crate::measure::trace::ProxyIndex;
use std::collections::BTreeSet;

/// Forgets the owners of the connections to a dependency, unless each has one; and answers how many processes the service has:
/// those `declared`, else those seen.
pub(super) fn settle(
    passed: &mut [Passed<'_>],
    api: Option<ProxyIndex>,
    declared: Option<u32>,
) -> Option<u32> {
    let mut everyone: BTreeSet<u32> = BTreeSet::new();
    let mut all_known = true;
    let dependencies = (0..).map(ProxyIndex).zip(passed.iter_mut());
    for (_, passed) in dependencies.filter(|(proxy, _)| Some(*proxy) != api) {
        let owners: BTreeSet<Option<u32>> = passed.sessions.values().map(|s| s.pid).collect();
        let known = owners.iter().copied().flatten();
        everyone.extend(known.clone());
        // Fewer than there are: something stands between, which has the connections of several.
        let between = declared.is_some_and(|n| known.count() < n as usize);
        all_known &= !owners.contains(&None);
        if owners.contains(&None) || between {
            passed.sessions.values_mut().for_each(|s| s.pid = None);
        }
    }
    // Several are several; of one alone it is only known where nobody else's connection was missed.
    let seen = u32::try_from(everyone.len()).ok();
    declared.or(seen.filter(|n| *n > 1 || (*n == 1 && all_known)))
}
