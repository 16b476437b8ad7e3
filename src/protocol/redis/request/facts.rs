//! What a request says of its session: AUTH, HELLO, SELECT, CLIENT SETNAME, RESET. Passwords are passed over.

use super::{Capture, Requests};
use crate::protocol::facts::VALUE_LIMIT;
use crate::protocol::redis::command::Kind;
use crate::protocol::redis::word::Packed;
use crate::protocol::{Fact, Facts};

/// Where in the arguments of a HELLO it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Option,
    User,
    Password,
    Name,
}

/// What the request under way says.
#[derive(Debug)]
pub(super) struct Saying {
    /// The value being read.
    value: Vec<u8>,
    hello: Hello,
    user: Option<Vec<u8>>,
    database: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
}

impl Saying {
    pub(super) const fn new() -> Self {
        Self {
            value: Vec::new(),
            hello: Hello::Option,
            user: None,
            database: None,
            name: None,
        }
    }

    /// Bytes that it may hold on the heap.
    #[cfg(test)]
    pub(super) const HEAP: usize = 4 * VALUE_LIMIT;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = VALUE_LIMIT.saturating_sub(self.value.len());
        self.value.extend(bytes.iter().take(room));
    }
}

impl Requests {
    /// What the bytes of the argument that begins are good for.
    pub(super) fn capture_of_fact(&mut self) -> Capture {
        let index = self.index;
        let capture = match self.kind {
            Kind::Auth if index == 1 && self.arguments != 2 => Capture::Fact,
            Kind::Select if index == 1 => Capture::Fact,
            Kind::SetName if index == 2 => Capture::Fact,
            Kind::Hello if index >= 2 => match self.details().saying.hello {
                Hello::Option => Capture::Word,
                Hello::User | Hello::Name => Capture::Fact,
                Hello::Password => Capture::Nothing,
            },
            _ => Capture::Nothing,
        };
        if capture == Capture::Fact {
            self.details().saying.value = Vec::new();
        }
        capture
    }

    /// A value is complete.
    pub(super) fn fact_end(&mut self) {
        let kind = self.kind;
        let saying = &mut self.details().saying;
        let value = std::mem::take(&mut saying.value);
        match kind {
            Kind::Auth => saying.user = Some(value),
            Kind::Select => saying.database = Some(value),
            Kind::SetName => saying.name = Some(value),
            _ if saying.hello == Hello::User => {
                saying.user = Some(value);
                saying.hello = Hello::Password;
            }
            _ => {
                saying.name = Some(value);
                saying.hello = Hello::Option;
            }
        }
    }

    /// The password of a HELLO was passed over.
    pub(super) fn password_end(&mut self) {
        if self.kind == Kind::Hello && self.index > 2 {
            let saying = &mut self.details().saying;
            if saying.hello == Hello::Password {
                saying.hello = Hello::Option;
            }
        }
    }

    /// An option of a HELLO.
    pub(super) fn hello_option(&mut self, word: Packed) {
        self.details().saying.hello = if word == Packed::of(b"auth") {
            Hello::User
        } else if word == Packed::of(b"setname") {
            Hello::Name
        } else {
            Hello::Option
        };
    }

    /// The request is complete, and goes to the server.
    pub(super) fn say(&mut self, exchange: u64, reset: bool) {
        let says = matches!(
            self.kind,
            Kind::Auth | Kind::Select | Kind::SetName | Kind::Hello
        );
        if !says && !reset {
            return;
        }
        let (kind, arguments) = (self.kind, self.arguments);
        let mut said = std::mem::replace(&mut self.details().saying, Saying::new());
        if reset {
            (said.user, said.database, said.name) =
                (Some(Vec::new()), Some(Vec::new()), Some(Vec::new()));
        } else if kind == Kind::Auth && arguments != 3 {
            // With a password alone it is the default user; and that password is forgotten here.
            said.user = Some(Vec::new());
        }
        let facts = self.facts.get_or_insert_default();
        for (fact, value) in [
            (Fact::User, said.user),
            (Fact::Database, said.database),
            (Fact::Name, said.name),
        ] {
            if let Some(value) = value {
                facts.ask(exchange, fact, &value);
            }
        }
    }

    /// What the session has said of itself.
    pub(in crate::protocol::redis) fn facts(&self) -> Option<&Facts> {
        self.facts.as_deref()
    }

    /// The same, where some of it waits for an answer.
    #[inline]
    pub(in crate::protocol::redis) fn waiting_facts(&mut self) -> Option<&mut Facts> {
        self.facts.as_deref_mut().filter(|facts| facts.is_waiting())
    }
}
