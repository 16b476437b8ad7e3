//! What the messages of the server mean: which request a reply answers, what a push carries, what either changes.

use super::{Capture, Context, Details, Frame, Replies};
use crate::protocol::redis::command::Kind;
use crate::protocol::redis::digest::Digest;
use crate::protocol::redis::outstanding::Pending;
use crate::protocol::redis::subscription::{Said, Subscriptions};
use crate::protocol::redis::word::Word;
use crate::protocol::redis::{Stop, emit, status};
use crate::protocol::{Event, Lost, Status, Transaction};

impl Replies {
    /// The first byte of a message.
    pub(super) fn message_begin(
        &mut self,
        byte: u8,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let head = context.outstanding.front().map(|head| head.kind);
        let confirmable = head.is_some_and(Kind::is_subscription);
        let push = match byte {
            b'>' => true,
            // In RESP2, a subscribed session gets messages as arrays; nothing but these three may be asked then.
            b'*' => self.subscribed && !self.resp3,
            // Refused at accept: the limit of clients, or protected mode.
            b'-' => head.is_none() && context.requests.is_first(),
            _ => false,
        };
        if !push {
            reply_begin(at, context)?;
            return self.reply_classify(byte, at, context);
        }
        if confirmable || (byte == b'*' && head == Some(Kind::Ping)) {
            self.open(Frame::Undecided, byte);
            self.inspect();
        } else {
            self.push_begin(byte, at, context);
        }
        Ok(())
    }

    fn push_begin(&mut self, byte: u8, at: usize, context: &mut Context<'_>) {
        context.emit_newest(at, Event::PushBegin);
        self.open(Frame::Push, byte);
        self.inspect();
    }

    /// What a reply of this type means to the request at the head.
    pub(super) fn reply_classify(
        &mut self,
        byte: u8,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let head = context.outstanding.front();
        let Some(frame) = head.and_then(|head| frame_of(head.kind, byte)) else {
            return Err(Stop::unpaired(at));
        };
        self.open(frame, byte);
        match frame {
            Frame::Error => {
                self.status = Status::OK;
                self.details().word = Word::new();
                self.capture = Capture::Code;
            }
            Frame::Exec => {
                self.inspect();
                self.details().errors = 0;
            }
            Frame::Hello => {
                self.inspect();
                self.details().version_next = false;
            }
            Frame::Confirmation => self.inspect(),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, byte: u8) {
        self.frame = frame;
        self.first = byte;
        self.outermost = true;
        self.nil = false;
        self.pending = 1;
    }

    pub(super) fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_with(|| Box::new(Details::new()))
    }

    /// Forgets what the last pub/sub array said.
    fn inspect(&mut self) {
        let details = self.details();
        details.parts = 0;
        details.index = 0;
        details.size = 0;
        details.said = Said::Other;
        details.hashed = 0;
        details.digest = Digest::new();
        details.count = None;
    }

    /// The type of a part: what its text is good for.
    pub(super) fn part_begin(&mut self, byte: u8, at: usize, context: &mut Context<'_>) {
        self.fresh = false;
        let frame = self.frame;
        let details = self.details();
        if frame == Frame::Exec {
            match byte {
                b'-' | b'!' => details.errors = details.errors.saturating_add(1),
                // Servers before 7.2 put messages that the transaction itself caused among its results.
                b'>' => {
                    details.suspended = Some(details.parts);
                    self.push_begin(byte, at, context);
                }
                _ => {}
            }
            return;
        }
        if frame == Frame::Hello {
            details.word = Word::new();
            // Keys and values take turns.
            let value = details.index % 2 == 1;
            let wanted = std::mem::take(&mut details.version_next);
            self.capture = match byte {
                b'$' if !value => Capture::Key,
                b'$' if wanted => Capture::Version,
                _ => Capture::Nothing,
            };
            return;
        }
        let channel = details.said.channel();
        self.capture = match (details.index, byte) {
            (0, b'$') => {
                details.word = Word::new();
                Capture::Said
            }
            (index, b'$')
                if channel.is_some_and(|channel| {
                    (index == channel || index == channel + 1)
                        && details.size == u64::from(channel) + 2
                }) =>
            {
                Capture::Hash
            }
            (2, b':') if matches!(details.said, Said::Confirmed(_)) => {
                details.count = Some(0);
                Capture::Count
            }
            _ => Capture::Nothing,
        };
    }

    /// A part, or a message that has none, is complete.
    pub(super) fn part_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        if !self.frame.has_parts() {
            return self.message_end(at, context);
        }
        if matches!(
            self.details(),
            Details {
                index: 0,
                size: 1..,
                ..
            }
        ) {
            self.decide(at, context)?;
        }
        let details = self.details();
        let Some(after) = details.parts.checked_sub(1) else {
            return self.message_end(at, context);
        };
        details.parts = after;
        details.index += 1;
        self.pending = 1;
        self.fresh = true;
        Ok(())
    }

    /// The first element of an array is complete: what it says the array is.
    fn decide(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        if !matches!(self.frame, Frame::Undecided | Frame::Push) {
            return Ok(());
        }
        let said = self.details().said;
        let head = context.outstanding.front().map(|head| head.kind);
        let answered = match said {
            Said::Pong => Some(Kind::Ping),
            Said::Confirmed(kind) => Some(kind),
            _ => None,
        };
        if self.frame == Frame::Undecided && answered.is_some() && answered == head {
            self.frame = Frame::Confirmation;
            return reply_begin(at, context);
        }
        if self.is_foreign() {
            return Err(Stop::unpaired(at));
        }
        if self.frame == Frame::Undecided {
            context.emit_newest(at, Event::PushBegin);
            self.frame = Frame::Push;
        }
        Ok(())
    }

    /// RESP3 has pushes of many kinds; in RESP2 an array that is none of these means that the place was lost.
    fn is_foreign(&mut self) -> bool {
        self.first == b'*' && matches!(self.details().said, Said::Other | Said::Pong)
    }

    /// The message is complete.
    pub(super) fn message_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        let frame = self.frame;
        self.frame = Frame::Idle;
        match frame {
            Frame::Push if self.is_foreign() => {
                return Err(Stop::unpaired(at));
            }
            Frame::Push => self.push_end(at, context),
            Frame::Confirmation => return self.confirmation_end(at, context),
            Frame::Undecided => {
                let why = Lost::Malformed;
                return Err(Stop { at, why });
            }
            _ => return self.reply_end(frame, at, context),
        }
        Ok(())
    }

    fn push_end(&mut self, at: usize, context: &mut Context<'_>) {
        let details = self.details();
        match (details.said, details.count) {
            (Said::Message | Said::PatternMessage, _) if details.hashed == 2 => {
                context.emit_newest(at, Event::Delivered(details.digest.value()));
            }
            (Said::Confirmed(kind), Some(count)) => details.subscriptions.confirmed(kind, count),
            _ => {}
        }
        context.emit_newest(at, Event::PushEnd);
        let subscribed = details.subscriptions.any();
        if let Some(parts) = details.suspended.take() {
            details.parts = parts;
            self.open(Frame::Exec, b'*');
            self.outermost = false;
            self.fresh = true;
        }
        self.subscribed = subscribed;
    }

    /// One channel is confirmed: the reply is complete when all are.
    fn confirmation_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        let details = self.details();
        let said = details.said;
        let (size, count) = (details.size, details.count);
        let Some(head) = context.outstanding.front_mut() else {
            return Err(Stop::unpaired(at));
        };
        match (said, count) {
            (Said::Pong, _) => head.replies = 1,
            (Said::Confirmed(kind), Some(count)) if head.kind == kind && size == 3 => {
                if head.replies == 0 {
                    let all = details.subscriptions.confirmations(kind);
                    head.replies = u32::try_from(all).unwrap_or(u32::MAX);
                }
                details.subscriptions.confirmed(kind, count);
            }
            _ => {
                return Err(Stop::unpaired(at));
            }
        }
        self.subscribed = details.subscriptions.any();
        head.replies -= 1;
        if head.replies == 0 {
            return self.reply_end(Frame::Plain, at, context);
        }
        Ok(())
    }

    fn reply_end(
        &mut self,
        frame: Frame,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let Some(head) = context.outstanding.pop() else {
            return Err(Stop::unpaired(at));
        };
        let status = match frame {
            Frame::Error => self.status,
            _ => Status::OK,
        };
        if frame == Frame::Exec {
            let errors = self.details().errors;
            if errors > 0 {
                emit(context.out, at, head.exchange, Event::PartErrors(errors));
            }
        }
        emit(context.out, at, head.exchange, Event::ReplyEnd { status });
        self.effects(head.kind, frame, at, context)
    }

    /// What a complete reply changes.
    fn effects(
        &mut self,
        kind: Kind,
        frame: Frame,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let stop = |why| Err(Stop { at, why });
        match kind {
            Kind::Exec if frame == Frame::Exec && !self.nil => {
                self.transaction_end(Transaction::Commit, at, context);
            }
            Kind::Exec if frame != Frame::Error || self.status == status::EXECABORT => {
                self.transaction_end(Transaction::Rollback, at, context);
            }
            Kind::Multi if frame == Frame::Plain => {
                self.in_transaction = true;
                self.failed = false;
                context.emit_newest(at, Event::Transaction(Transaction::Begin));
            }
            Kind::Discard if frame == Frame::Plain => {
                self.transaction_end(Transaction::Rollback, at, context);
            }
            Kind::Reset if frame == Frame::Plain => {
                self.transaction_end(Transaction::Rollback, at, context);
                self.reset();
            }
            Kind::Multi | Kind::Exec | Kind::Discard | Kind::Reset | Kind::Watch => {}
            _ if frame == Frame::Error => self.transaction_failed(at, context),
            Kind::Monitor => return stop(Lost::Monitor),
            Kind::Hello if self.first != b'+' => self.resp3 = self.first == b'%',
            // Queued: its real answer will stand inside the reply of EXEC, and not as one element.
            kind if (kind == Kind::Hello || kind.is_subscription()) && self.first == b'+' => {
                return stop(Lost::Unpaired);
            }
            _ => {}
        }
        Ok(())
    }

    /// A RESET that CLIENT REPLY SKIP kept quiet takes effect in its place in the order.
    pub(super) fn silent_resets(&mut self, context: &mut Context<'_>) {
        while context.outstanding.front().is_some_and(Pending::is_silent) {
            context.outstanding.pop();
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.resp3 = false;
        self.subscribed = false;
        self.details().subscriptions = Subscriptions::NONE;
    }

    /// A command was refused while queueing: EXEC can only abort.
    fn transaction_failed(&mut self, at: usize, context: &mut Context<'_>) {
        if self.in_transaction && !self.failed {
            self.failed = true;
            context.emit_newest(at, Event::Transaction(Transaction::Failed));
        }
    }

    fn transaction_end(&mut self, how: Transaction, at: usize, context: &mut Context<'_>) {
        if self.in_transaction {
            self.in_transaction = false;
            context.emit_newest(at, Event::Transaction(how));
        }
    }
}

/// Tells the beginning of the reply to the request at the head, once.
pub(super) fn reply_begin(at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
    let Some(head) = context.outstanding.front_mut() else {
        return Err(Stop::unpaired(at));
    };
    if !head.begun {
        head.begun = true;
        emit(context.out, at, head.exchange, Event::ReplyBegin);
    }
    Ok(())
}

/// What a reply of this type is to a request of this kind; `None`: it cannot be its reply.
fn frame_of(kind: Kind, byte: u8) -> Option<Frame> {
    match (kind, byte) {
        (_, b'-' | b'!') => Some(Frame::Error),
        (Kind::Exec, b'*') => Some(Frame::Exec),
        (Kind::Hello, b'%' | b'*') => Some(Frame::Hello),
        (Kind::Exec, b'+' | b'_')
        | (Kind::Hello | Kind::Multi | Kind::Discard | Kind::Reset | Kind::Monitor, b'+') => {
            Some(Frame::Plain)
        }
        (
            Kind::Exec | Kind::Hello | Kind::Multi | Kind::Discard | Kind::Reset | Kind::Monitor,
            _,
        ) => None,
        _ if !kind.is_subscription() => Some(Frame::Plain),
        (_, b'*' | b'>') => Some(Frame::Confirmation),
        // Queued.
        (_, b'+') => Some(Frame::Plain),
        _ => None,
    }
}
