//! Faults that stop the bytes of one direction of a session, whatever they mean: below the exchanges, and the same for every
//! protocol.

use super::super::clock;
use super::super::lane::{Cargo, Item};
use super::super::local::Local;
use super::super::relay::{End, Relay, Source, Way, source_of};
use super::record::Lost;
use super::{Injector, half, note_aside};
use crate::fault::action::{CloseHow, CutFrom, StreamCut};
use crate::fault::active::ActiveFault;
use crate::fault::spec::Side;
use crate::fault::{Decision, Plan};
use crate::measure::Counter;
use crate::measure::ledger::Touch;
use crate::measure::trace::Outcome;
use crate::protocol::Protocol;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;

/// What stops the bytes of a session.
#[derive(Debug)]
pub(super) struct Cuts {
    session: u64,
    client: Option<IpAddr>,
    active: Vec<Active>,
    /// The faults that this session met, and whether they hit it.
    asked: Vec<(Arc<ActiveFault>, bool)>,
    /// One that is over, and has left a hole in the stream.
    lapsed: Option<Active>,
}

/// One of them.
#[derive(Debug)]
struct Active {
    by: Touch,
    cut: StreamCut,
    /// Bytes that went since the session met it.
    passed: u64,
    /// Since when nothing goes any more.
    since: Option<u64>,
    /// It was told of.
    told: bool,
}

impl Active {
    fn way(&self) -> Way {
        match self.cut.on {
            Side::Request => Way::Up,
            Side::Reply => Way::Down,
        }
    }

    /// When the session closes.
    fn due(&self) -> Option<u64> {
        let since = self.since?;
        Some(since.saturating_add(clock::nanos(self.cut.close_after?)))
    }
}

/// What became of a piece.
struct Admitted {
    /// So many bytes of it go.
    bytes: usize,
    /// Behind them the session closes.
    close: Option<(CloseHow, Arc<str>)>,
}

impl Cuts {
    pub(super) fn new(session: u64, client: Option<IpAddr>) -> Self {
        Self {
            session,
            client,
            active: Vec::new(),
            asked: Vec::new(),
            lapsed: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.lapsed.is_none()
    }

    /// Another plan is in force. One that is over and had stopped bytes leaves a stream that cannot go on; one that was changed
    /// goes on counting.
    pub(super) fn set_plan(&mut self, plan: &Plan, now: u64) {
        if self.active.is_empty() && !plan.has_stream_cuts() {
            self.asked.clear();
            return;
        }
        let at = clock::instant(now);
        let cuts = plan.stream_cuts(self.session, self.client, at, &mut self.asked);
        let mut before = std::mem::take(&mut self.active);
        for (fault, cut) in cuts {
            let known = before.iter().position(|a| a.by.name == fault);
            let known = known.map(|at| before.swap_remove(at));
            let (passed, since, told) = match known {
                Some(known) if known.cut.on == cut.on => (known.passed, known.since, known.told),
                Some(known) => {
                    before.push(known);
                    (0, None, false)
                }
                None => (0, None, false),
            };
            let since = since.or((cut.from == CutFrom::Start).then_some(now));
            let action = plan.action_of(&fault).unwrap_or_default().into();
            self.active.push(Active {
                by: Touch {
                    name: fault,
                    action,
                    skipped: None,
                },
                cut,
                passed,
                since,
                told,
            });
        }
        let over = before.into_iter().find(|a| a.since.is_some());
        self.lapsed = self.lapsed.take().or(over);
    }

    /// The one that lets vanish what comes this way.
    fn swallower(&self, way: Way) -> Option<&Active> {
        let mut all = self.active.iter();
        all.find(|a| a.way() == way && a.since.is_some())
    }

    /// The one that has taken their replies from requests that are without one when the session ends like this.
    fn culprit(&self, outcome: Outcome) -> Option<&Active> {
        if outcome != Outcome::Cut {
            return self.swallower(Way::Down);
        }
        let now = self.active.iter().find(|a| a.since.is_some());
        self.lapsed.as_ref().or(now)
    }

    /// Whether what comes this way vanishes.
    fn swallows(&self, way: Way) -> bool {
        self.swallower(way).is_some()
    }

    /// Whether nothing goes this way any more, not even what is in the lane.
    fn holds(&self, way: Way) -> bool {
        let mut all = self.active.iter();
        all.any(|a| a.way() == way && a.cut.from == CutFrom::Start)
    }

    /// A piece comes: how much of it goes.
    fn admit(&mut self, way: Way, length: usize, now: u64) -> Admitted {
        let mut admitted = Admitted {
            bytes: length,
            close: None,
        };
        let mut first: Option<&mut Active> = None;
        for active in self.active.iter_mut().filter(|a| a.way() == way) {
            let CutFrom::Bytes(most) = active.cut.from else {
                continue;
            };
            let left = usize::try_from(most.saturating_sub(active.passed)).unwrap_or(usize::MAX);
            // Whoever lets none go waits for the first that comes; whoever lets some go is done with the last of them.
            if left <= admitted.bytes {
                admitted.bytes = left;
                first = Some(active);
            }
        }
        if let Some(active) = first {
            active.since = Some(now);
            if active.cut.close_after == Some(Duration::ZERO) {
                admitted.close = Some((active.cut.how, Arc::clone(&active.by.name)));
            }
        }
        for active in self.active.iter_mut().filter(|a| a.way() == way) {
            active.passed += admitted.bytes as u64;
        }
        admitted
    }

    /// The first moment at which one of them closes the session, and how.
    fn next_due(&self) -> Option<(u64, CloseHow)> {
        let due = self.active.iter().filter_map(|a| Some((a.due()?, a.cut)));
        due.filter(|(_, cut)| cut.close_after != Some(Duration::ZERO))
            .map(|(due, cut)| (due, cut.how))
            .min_by_key(|(due, _)| *due)
    }

    /// A fault of this way that nobody was told of yet.
    fn take_untold(&mut self, way: Way) -> Option<Arc<str>> {
        let mut all = self.active.iter_mut();
        let active = all.find(|a| a.way() == way && a.since.is_some() && !a.told)?;
        active.told = true;
        Some(Arc::clone(&active.by.name))
    }
}

impl Injector {
    /// Whether nothing is to be done this way: what comes vanishes, and what was to go before that went.
    pub(super) fn is_cut(&self, way: Way) -> bool {
        let lane = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        self.cuts.holds(way) || (self.cuts.swallows(way) && lane.is_empty())
    }

    /// Lets vanish what comes where nothing goes any more, and closes in time. A peer that gives up ends the session; an
    /// orderly end is held like bytes where it may be half of one.
    pub(super) fn poll_cuts(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
        wake: &mut u64,
    ) -> Option<End> {
        if self.cuts.is_idle() {
            return None;
        }
        if let Some(over) = &self.cuts.lapsed {
            return Some(End::Fault(over.cut.how));
        }
        for way in [Way::Up, Way::Down] {
            if self.cuts.swallows(way) {
                self.swallow(way, relay, cx, local);
            }
            match half(relay, way).source {
                Source::Reset if self.is_cut(way) => {
                    return Some(match way {
                        Way::Up => End::ClientReset,
                        Way::Down => End::UpstreamReset,
                    });
                }
                Source::Finished if self.is_cut(way) => {
                    let spoken = relay.shared.protocol() != Protocol::Tcp;
                    let both = relay.up.source == relay.down.source;
                    if both || (spoken && way == Way::Up) {
                        return Some(End::Fin);
                    }
                }
                _ => {}
            }
        }
        if let Some((due, how)) = self.cuts.next_due() {
            if due <= clock::now() {
                return Some(End::Fault(how));
            }
            *wake = (*wake).min(due);
        }
        None
    }

    fn swallow(&mut self, way: Way, relay: &mut Relay, cx: &mut Context<'_>, local: &mut Local) {
        while half(relay, way).source == Source::Open {
            let from = match way {
                Way::Up => &mut relay.client,
                Way::Down => &mut relay.upstream,
            };
            let mut buffer = ReadBuf::new(&mut local.scratch);
            let Poll::Ready(read) = from.poll_read(cx, &mut buffer) else {
                return;
            };
            let length = buffer.filled().len();
            match read {
                Err(e) => half(relay, way).source = source_of(&e),
                Ok(()) if length == 0 => half(relay, way).source = relay.source_at_end(way),
                Ok(()) => {
                    self.vanish(way, length, relay, local);
                    self.tell_of_cut(way, relay, local);
                }
            }
        }
    }

    /// Bytes in the scratch buffer that go nowhere. A request was made all the same, and is without a reply when the session
    /// ends; a reply that vanished was none.
    fn vanish(&mut self, way: Way, length: usize, relay: &mut Relay, local: &mut Local) {
        let id = relay.shared.id;
        count_vanished(way, length, relay, local);
        let mut lost = relay.meter.unanswered();
        match way {
            Way::Up => {
                let first = relay.meter.first_unfinished();
                // Nobody decides any more about what was kept for a decision.
                let kept = self.requests.take_kept();
                self.up.push_bytes(&kept, 0, None);
                if self.requests.is_idle() {
                    let (now, session) = (clock::now(), relay.session);
                    let was_lost = relay.meter.lost;
                    relay
                        .meter
                        .request(length, now, local, &relay.shared, session);
                    if relay.meter.lost && !was_lost {
                        self.give_up(relay, local);
                    }
                } else {
                    local.shard.count(id, Counter::BytesUp, length as u64);
                }
                lost = first..relay.meter.unanswered().end;
            }
            Way::Down => local.shard.count(id, Counter::BytesDown, length as u64),
        }
        if let Some(by) = self.cuts.swallower(way).map(|a| a.by.clone()) {
            self.touch_lost(lost, way, &by, relay, local);
        }
    }

    /// The end of a piece goes nowhere; its beginning was looked at.
    pub(super) fn vanish_rest(
        &mut self,
        way: Way,
        rest: &[u8],
        relay: &mut Relay,
        local: &mut Local,
    ) {
        if !rest.is_empty() {
            local.scratch[..rest.len()].copy_from_slice(rest);
            self.vanish(way, rest.len(), relay, local);
        }
    }

    /// Requests that are without a reply for good, since their own bytes vanished, or those that came back.
    fn touch_lost(
        &mut self,
        exchanges: Range<u64>,
        vanished: Way,
        by: &Touch,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        for exchange in exchanges {
            let Some(e) = relay.meter.get(exchange).filter(|e| e.is_untouched()) else {
                continue;
            };
            let went = e.forwarded != 0 || self.up.is_empty();
            let reached = vanished == Way::Down && e.asked != 0 && went;
            let asked = (exchange, e.operation, e.class);
            let came = relay.meter.reply_so_far(e);
            relay.meter.touched(exchange, &by.name);
            let lost = Lost {
                by: by.clone(),
                reached,
                // What is still in the lane has not gone.
                heard: came.unwrap_or(0).saturating_sub(self.down.held() as u64),
            };
            self.record.lost(asked, lost, relay, &mut local.shard);
        }
    }

    /// The session ends: what has no reply, since bytes vanished or would have, is touched by what let them. What is told with a
    /// reply is told before.
    pub(crate) fn touch_at_end(&mut self, outcome: Outcome, relay: &mut Relay, local: &mut Local) {
        self.tell_of_swaps(relay, local);
        if let Some(by) = self.cuts.culprit(outcome).map(|a| a.by.clone()) {
            let lost = relay.meter.unanswered();
            self.touch_lost(lost, Way::Down, &by, relay, local);
        }
    }

    /// A piece was read into the scratch buffer: takes what may go of it, and what is to happen behind that. Returns how many
    /// bytes go on.
    pub(super) fn admit(
        &mut self,
        way: Way,
        length: usize,
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> (usize, Option<(CloseHow, Arc<str>)>) {
        if self.cuts.is_idle() {
            return (length, None);
        }
        let Admitted { bytes, close } = self.cuts.admit(way, length, now);
        self.tell_of_cut(way, relay, local);
        (bytes, close)
    }

    /// Behind all that was read so far this way, the session closes.
    pub(super) fn close_behind(&mut self, way: Way, (how, fault): (CloseHow, Arc<str>)) {
        let decision = Arc::new(Decision {
            faults: vec![fault],
            ..Decision::default()
        });
        self.end_lane(way, Item::new(0, Cargo::Close(how, 0), Some(&decision)));
    }

    /// Puts the last item into a lane, behind what is kept for a decision that never comes.
    pub(super) fn end_lane(&mut self, way: Way, item: Item) {
        let kept = match way {
            Way::Up => self.requests.take_kept(),
            Way::Down => self.take_kept_replies(),
        };
        let lane = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        lane.push_bytes(&kept, 0, None);
        lane.push(item);
    }

    fn tell_of_cut(&mut self, way: Way, relay: &Relay, local: &mut Local) {
        while let Some(fault) = self.cuts.take_untold(way) {
            let decision = Decision {
                faults: vec![fault],
                ..Decision::default()
            };
            note_aside("stream", &decision, relay, local);
        }
    }
}

fn count_vanished(way: Way, length: usize, relay: &Relay, local: &mut Local) {
    let counter = match way {
        Way::Up => Counter::VanishedUp,
        Way::Down => Counter::VanishedDown,
    };
    local.shard.count(relay.shared.id, counter, length as u64);
}
