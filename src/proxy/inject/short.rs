//! Replies that are cut short: the place is found, what is before it goes, and the session closes.

use super::super::lane::{Cargo, Item};
use super::Injector;
use super::replies::Replying;
use super::reply::SHARE;
use crate::protocol::{Protocol, http1};

impl Injector {
    /// Cuts the session where a reply reached its last byte that may go.
    pub(super) fn cut_if_due(&mut self, now: u64) {
        if let Replying::Cut {
            how,
            left: 0,
            cause,
        } = &self.replies.replying
        {
            // Everything before this reply is in the lane already.
            let due = self.replies.due(now);
            let close = Item::new(due, Cargo::Close(*how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }

    /// The length of the reply is known, or as much of it as is kept: sends the share on, and cuts.
    pub(super) fn cut_share(&mut self, now: u64) {
        if let Replying::CutShare {
            how,
            share,
            kept,
            cause,
        } = &self.replies.replying
        {
            let part = (kept.len() as f64 * share) as usize;
            let due = self.replies.due(now);
            self.down
                .push_bytes(&kept[..part.min(kept.len())], due, Some(cause));
            let close = Item::new(due, Cargo::Close(*how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }

    /// Sends of a reply what goes before its cut, once that is known, and cuts. `complete`: no more of it will come.
    pub(super) fn truncate(&mut self, complete: bool, now: u64) {
        let Replying::Truncate {
            truncate,
            kept,
            cause,
        } = &self.replies.replying
        else {
            return;
        };
        // What is longer than is kept is cut as if it were as long as that.
        let complete = complete || kept.len() >= SHARE;
        let head = match self.protocol {
            Protocol::Http => http1::inject::head_length(kept),
            _ => Some(0),
        };
        let head = match head {
            None if !complete => return,
            head => head.unwrap_or(kept.len()),
        };
        if let Some(at) = truncate.place(kept.len(), head, complete) {
            let due = self.replies.due(now);
            self.down.push_bytes(&kept[..at], due, Some(cause));
            let close = Item::new(due, Cargo::Close(truncate.how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }
}
