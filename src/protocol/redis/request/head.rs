//! The head of a command, from `*` to the end of its name: what a pipeline repeats.

use super::super::command::{self, Kind};
use super::super::number;
use super::super::word::Packed;
use super::{MAX_ARGUMENTS, argument};
use crate::protocol::{Class, Operation};

/// The head of a plain command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Its first bytes, and which of them count: all, where it is short enough to be known by them.
    first: u128,
    counts: u128,
    /// Its length in bytes.
    pub(super) length: usize,
    /// Arguments of the command, its name included.
    pub(super) arguments: u64,
    pub(super) operation: Operation,
    pub(super) class: Class,
    pub(super) kind: Kind,
}

impl Head {
    /// The head at the start of `bytes`. `None`: incomplete, or not a matter for the fast way. One that equals the `last` of this
    /// piece, as those of a pipeline often do, is not looked at again.
    #[inline]
    pub(super) fn read(bytes: &[u8], last: &mut Option<Self>) -> Option<Self> {
        let first = bytes.first_chunk().map(|first| u128::from_le_bytes(*first));
        if let (Some(first), Some(last)) = (first, *last)
            && (first ^ last.first) & last.counts == 0
        {
            return Some(last);
        }
        let mut head = Self::parse(bytes)?;
        if let Some(first) = first
            && let Some(others @ 0..128) = 128_usize.checked_sub(8 * head.length)
        {
            head.first = first;
            head.counts = u128::MAX >> others;
            *last = Some(head);
        }
        Some(head)
    }

    #[inline]
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (arguments, rest) = number::complete(bytes.strip_prefix(b"*")?)?;
        if arguments == 0 || arguments > MAX_ARGUMENTS {
            return None;
        }
        let (name, after) = argument(rest)?;
        let name = Packed::prefix(name, name.len() - after.len() - 2)?;
        let operation = command::find(name, command::OTHER).unwrap_or(command::OTHER);
        let row = command::command(operation);
        row.kind.is_plain().then_some(Self {
            first: 0,
            counts: 0,
            length: bytes.len() - after.len(),
            arguments,
            operation,
            class: row.class,
            kind: row.kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_says_what_is_read() {
        let mut last = None;
        for text in [
            &b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n$20\r\n",
            b"*2\r\n$3\r\nget\r\n$1\r\n",
            b"*3\r\n$3\r\nGET\r\n$1\r\n",
            b"*2\r\n$3\r\nTTL\r\n$1\r\n",
            b"*2\r\n$3\r\nGET\r\n",
            b"*2\r\n$3\r\nGET\r",
            b"*2\r\n$6\r\nEXISTS\r\n",
            b"*2\r\n$6\r\nEXISTX\r\n",
            b"*2\r\n$7\r\nHGETALL\r\n$1\r\n",
            b"*2\r\n$9\r\nSISMEMBER\r\n$1\r\n",
            b"*2\r\n$11\r\nINCRBYFLOAT\r\n$1\r\n",
            b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n",
        ]
        .repeat(2)
        {
            let fresh = Head::read(text, &mut None);
            let read = Head::read(text, &mut last);
            let said = |head: Option<Head>| head.map(|h| (h.length, h.arguments, h.operation));
            assert_eq!(said(read), said(fresh), "{text:?}");
        }
        assert!(last.is_some());
    }
}
