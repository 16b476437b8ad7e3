//! Tests of the decoder: sessions told as lines of text, one an event, with offsets from the beginning of each direction.

mod captures;
mod exchanges;
mod inject;
mod model;
mod oracle;
mod properties;
mod refusals;
mod routes;

use super::Decoder;
use crate::protocol::{Catalog, Event, Located, Protocol};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A session under test.
struct Session {
    catalog: Catalog,
    decoder: Decoder,
    events: Vec<Located>,
    /// Bytes shown so far, by side.
    shown: [usize; 2],
    /// What was told, by side.
    told: [Vec<String>; 2],
}

impl Session {
    fn new() -> Self {
        let catalog = Catalog::new(Protocol::Http, &[]);
        Self {
            decoder: Decoder::new(catalog.routes()),
            catalog,
            events: Vec::new(),
            shown: [0; 2],
            told: [Vec::new(), Vec::new()],
        }
    }

    fn show(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        match side {
            Side::Client => self.decoder.request(bytes, &mut self.events),
            Side::Server => self.decoder.reply(bytes, &mut self.events),
        }
        self.tell(side, bytes.len());
        self.shown[side as usize] += bytes.len();
        self
    }

    fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.show(Side::Client, bytes.as_ref())
    }

    fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.show(Side::Server, bytes.as_ref())
    }

    fn eof(&mut self) -> &mut Self {
        self.decoder.reply_eof(&mut self.events);
        self.tell(Side::Server, 0);
        self
    }

    fn tell(&mut self, side: Side, len: usize) {
        let mut last = 0;
        for Located {
            at,
            exchange,
            event,
        } in self.events.drain(..)
        {
            assert!(last <= at && at <= len, "offsets go up, inside the piece");
            last = at;
            let what = match event {
                Event::RequestBegin => "request".into(),
                Event::RequestKnown {
                    operation,
                    class,
                    replies,
                } => {
                    assert!(replies);
                    assert_eq!(class, self.catalog.operation_class(operation));
                    self.catalog.operation_name(operation).into_owned()
                }
                Event::RequestEnd => "sent".into(),
                Event::ReplyBegin => "reply".into(),
                Event::ReplyEnd { status } => self.catalog.status_name(status).into_owned(),
                Event::Lost(reason) => {
                    self.told[side as usize]
                        .push(format!("{} {reason}", self.shown[side as usize] + at));
                    continue;
                }
                other => panic!("not an event of HTTP: {other:?}"),
            };
            let offset = self.shown[side as usize] + at;
            self.told[side as usize].push(format!("{offset} #{exchange} {what}"));
        }
    }

    fn requests(&self) -> String {
        self.told[0].join(", ")
    }

    fn replies(&self) -> String {
        self.told[1].join(", ")
    }
}
