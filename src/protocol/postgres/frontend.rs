//! What the client sends, once it is past its first packets. Manual: "Message Formats", those marked F.

use super::decoder::Decoder;
use super::frame::{Frame, Side};
use super::hash;
use super::operation::{self, Known};
use super::pending::Kind;
use super::sql::text::{RAW_LIMIT, Statement};
use super::sql::{Scanner, Verdict};
use super::statements::TextId;
use crate::protocol::{Class, Event, Located, Lost, Operation};

/// The client's direction.
pub(super) struct Front;

/// What the client's message being read has told so far.
#[derive(Debug)]
pub(super) struct Ask {
    step: Step,
    /// Hash of the name being read.
    name: u64,
    /// Bind: hash of the portal's name.
    portal: u64,
    /// Parse: its text is wanted, and not complete.
    capturing: bool,
    /// Parse: the text so far, where it came in pieces.
    text: Vec<u8>,
    /// Parse: what the text came to.
    said: Option<TextId>,
}

/// What the next byte of the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Of no interest, like all bytes to the end of the message.
    Skip,
    QueryText,
    ParseName,
    ParseText,
    /// More of the text, of which is known what it does.
    ParseRest,
    BindPortal,
    BindStatement,
    ExecutePortal,
    CloseKind,
    CloseStatement,
    ClosePortal,
}

impl Ask {
    pub(super) const fn new() -> Self {
        Self {
            step: Step::Skip,
            name: hash::EMPTY,
            portal: hash::EMPTY,
            capturing: false,
            text: Vec::new(),
            said: None,
        }
    }
}

impl Side for Front {
    #[inline]
    fn frame(decoder: &mut Decoder) -> &mut Frame {
        &mut decoder.ask_frame
    }

    #[inline]
    fn begin(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        d.ask.step = match kind {
            b'Q' => {
                d.close_group(at, out);
                d.begin(Kind::Query, operation::OTHER, at, out)?;
                d.scanner = Scanner::new();
                Step::QueryText
            }
            b'P' => {
                // A Parse always begins a group: one behind a Parse was prepared for its own sake.
                d.close_group(at, out);
                d.add_to_group(at, out)?;
                d.scanner = Scanner::new();
                Step::ParseName
            }
            b'B' => {
                d.add_to_group(at, out)?;
                Step::BindPortal
            }
            b'D' => {
                d.add_to_group(at, out)?;
                Step::Skip
            }
            b'E' => {
                d.open_group(at, out)?;
                Step::ExecutePortal
            }
            b'd' => {
                d.mark(Event::CopyData, at, out);
                Step::Skip
            }
            b'p' => Step::Skip,
            b'C' => {
                d.close_group(at, out);
                d.owe(Kind::Close)?;
                Step::CloseKind
            }
            b'S' => {
                d.close_group(at, out);
                d.owe(Kind::Sync)?;
                Step::Skip
            }
            b'F' => {
                d.close_group(at, out);
                d.begin(Kind::Function, operation::FUNCTION, at, out)?;
                Step::Skip
            }
            b'H' => {
                d.close_group(at, out);
                d.flushed = d.next;
                Step::Skip
            }
            b'X' => {
                d.close_group(at, out);
                Step::Skip
            }
            b'c' | b'f' => {
                d.close_group(at, out);
                d.mark(Event::CopyData, at, out);
                if !d.pending.is_empty() {
                    d.owe(Kind::CopyEnd)?;
                }
                Step::Skip
            }
            _ => return Err(Lost::Malformed),
        };
        d.ask.name = hash::EMPTY;
        Ok(())
    }

    #[inline]
    fn open(
        d: &mut Decoder,
        kind: u8,
        _length: u32,
        at: usize,
        out: &mut Vec<Located>,
    ) -> Result<(), Lost> {
        if kind == b'F' {
            d.known(operation::FUNCTION, Class::Admin, true, at, out);
        }
        Ok(())
    }

    #[inline]
    fn body(d: &mut Decoder, chunk: &[u8], at: usize, out: &mut Vec<Located>) {
        let mut read = 0;
        while d.ask.step != Step::Skip && read < chunk.len() {
            let Some(more) = d.read(&chunk[read..], at + read, out) else {
                break;
            };
            read += more;
        }
    }

    #[inline]
    fn end(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        match kind {
            b'Q' => {
                if d.ask.step == Step::QueryText {
                    let verdict = d.scanner.finish();
                    d.query_known(verdict, at, out);
                }
                d.request_end(at, out);
            }
            b'P' => {
                if d.ask.step == Step::ParseText {
                    let verdict = d.scanner.finish();
                    d.parsed(verdict);
                }
                d.parse_end();
            }
            b'E' => {
                if d.ask.step == Step::ExecutePortal {
                    d.execute_known(Known::UNKNOWN, at, out);
                }
                d.end_group(Kind::Execute);
                d.request_end(at, out);
            }
            b'F' => d.request_end(at, out),
            b'S' => d.mark(Event::BatchEnd, at, out),
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn repeats(kind: u8) -> bool {
        kind == b'd'
    }
}

impl Decoder {
    /// Reads the part of the body that begins `chunk`. How long it is; `None` where it goes on behind the chunk.
    #[inline]
    fn read(&mut self, chunk: &[u8], at: usize, out: &mut Vec<Located>) -> Option<usize> {
        match self.ask.step {
            Step::Skip => Some(chunk.len()),
            Step::QueryText => {
                let (read, verdict) = self.scanner.feed(chunk)?;
                self.ask.step = Step::Skip;
                self.query_known(verdict, at + read, out);
                Some(read)
            }
            Step::ParseText => {
                self.capture(chunk);
                let (read, verdict) = self.scanner.feed(chunk)?;
                self.parsed(verdict);
                if self.ask.capturing {
                    self.ask.step = Step::ParseRest;
                    return Some(chunk.len());
                }
                self.ask.step = Step::Skip;
                Some(read)
            }
            Step::ParseRest => {
                self.capture(chunk);
                if !self.ask.capturing {
                    self.ask.step = Step::Skip;
                }
                Some(chunk.len())
            }
            Step::CloseKind => {
                self.ask.step = match chunk.first()? {
                    b'S' => Step::CloseStatement,
                    b'P' => Step::ClosePortal,
                    _ => Step::Skip,
                };
                Some(1)
            }
            _ => {
                let read = hash::cstring(&mut self.ask.name, chunk)?;
                self.name_known(at + read, out);
                Some(read)
            }
        }
    }

    /// A name of the body was read.
    #[inline]
    fn name_known(&mut self, at: usize, out: &mut Vec<Located>) {
        let name = self.ask.name;
        self.ask.step = match self.ask.step {
            // The name is needed again once the text behind it was read.
            Step::ParseName => {
                let named = name != hash::EMPTY;
                self.ask.capturing = self.texts.is_some() && (named || self.watching);
                Step::ParseText
            }
            Step::BindPortal => {
                self.ask.portal = name;
                self.ask.name = hash::EMPTY;
                Step::BindStatement
            }
            Step::BindStatement => {
                let known = self.statement(name);
                self.set_portal(self.ask.portal, known);
                Step::Skip
            }
            Step::ExecutePortal => {
                let known = self.portal(name);
                self.execute_known(known, at, out);
                Step::Skip
            }
            Step::CloseStatement => {
                self.forget(super::sql::Forget::One(name));
                Step::Skip
            }
            Step::ClosePortal => {
                self.forget_portal(name);
                Step::Skip
            }
            step => step,
        };
    }

    fn query_known(&mut self, verdict: Verdict, at: usize, out: &mut Vec<Located>) {
        self.forget(verdict.forget);
        self.name_newest(verdict.known.operation);
        self.known(verdict.known.operation, verdict.known.class, true, at, out);
    }

    fn parsed(&mut self, verdict: Verdict) {
        self.forget(verdict.forget);
        self.set_statement(self.ask.name, verdict.known);
    }

    /// More of the text of a Parse: remembers what it says, once it is whole.
    #[inline]
    fn capture(&mut self, chunk: &[u8]) {
        if !self.ask.capturing {
            return;
        }
        let end = memchr::memchr(0, chunk);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let whole = end.is_some() || self.ask.text.len() + part.len() >= RAW_LIMIT;
        if whole && self.ask.text.is_empty() {
            self.remember(part);
            return;
        }
        self.ask.text.extend_from_slice(part);
        if whole {
            let text = std::mem::take(&mut self.ask.text);
            self.remember(&text);
        }
    }

    #[cold]
    fn remember(&mut self, text: &[u8]) {
        self.ask.capturing = false;
        if let Some(texts) = &self.texts {
            self.ask.said = texts.remember(Statement::of(text, self.escapes));
        }
    }

    /// A Parse is complete: what it says is known by its name from here on.
    #[inline]
    fn parse_end(&mut self) {
        if self.ask.capturing {
            // Its text had no end.
            let text = std::mem::take(&mut self.ask.text);
            self.remember(&text);
        }
        if let Some(text) = self.ask.said.take() {
            let known = self.statement(self.ask.name);
            let known = Known {
                text: Some(text),
                ..known
            };
            self.set_statement(self.ask.name, known);
        }
    }

    fn execute_known(&mut self, known: Known, at: usize, out: &mut Vec<Located>) {
        self.name_newest(known.operation);
        if let Some(entry) = self.pending.back_mut() {
            entry.text = known.text;
        }
        self.known(known.operation, known.class, true, at, out);
    }

    /// Begins a group, unless one is open.
    #[inline]
    fn open_group(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        if !self.group_open {
            self.begin(Kind::Open, operation::PREPARE, at, out)?;
            self.group_open = true;
        }
        Ok(())
    }

    /// Adds a message that is answered to the open group, which is begun if need be.
    #[inline]
    fn add_to_group(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        self.open_group(at, out)?;
        if let Some(entry) = self.pending.back_mut() {
            entry.parts = entry.parts.saturating_add(1);
        }
        Ok(())
    }

    /// What follows at `at` does not belong to the open group: it ended without an Execute.
    #[inline]
    fn close_group(&mut self, at: usize, out: &mut Vec<Located>) {
        if self.group_open {
            self.known(operation::PREPARE, Class::Admin, true, at, out);
            self.end_group(Kind::Prepare);
            self.request_end(at, out);
        }
    }

    /// Tells of what only some faults look for.
    #[inline]
    fn mark(&self, event: Event, at: usize, out: &mut Vec<Located>) {
        if self.marking {
            out.push(Located {
                at,
                exchange: self.newest(),
                event,
            });
        }
    }

    fn end_group(&mut self, kind: Kind) {
        self.group_open = false;
        if let Some(entry) = self.pending.back_mut()
            && entry.kind == Kind::Open
        {
            entry.kind = kind;
        }
    }

    /// Names the exchange whose request is being read.
    fn name_newest(&mut self, operation: Operation) {
        let newest = self.newest();
        if let Some(entry) = self.pending.back_mut()
            && entry.is_exchange()
            && entry.exchange == newest
        {
            entry.operation = operation;
        }
    }

    pub(super) fn known(
        &mut self,
        operation: Operation,
        class: Class,
        replies: bool,
        at: usize,
        out: &mut Vec<Located>,
    ) {
        out.push(Located {
            at,
            exchange: self.newest(),
            event: Event::RequestKnown {
                operation,
                class,
                replies,
            },
        });
    }

    #[inline]
    fn request_end(&mut self, at: usize, out: &mut Vec<Located>) {
        out.push(Located {
            at,
            exchange: self.newest(),
            event: Event::RequestEnd,
        });
    }
}
