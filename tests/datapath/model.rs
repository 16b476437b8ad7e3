//! Random commands and random errors in random pieces, on real servers: what the client is told, and what the server has at the
//! end, are what a model of the server says that it may be.
//!
//! Which exchanges are hit is drawn by the proxy, so the model looks at each reply: an injected error has effects of its own
//! (a queued command that fails aborts its EXEC), everything else must be exactly what the server would have said.

use crate::harness::Proxied;
use crate::integrity::Dice;
use crate::peers::dial;
use crate::support::{Postgres, Redis};
use brownout::protocol::Protocol;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The text by which injected errors are known.
const MARK: &str = "by the model";

/// Errors of a probability, and delays that keep everything in pieces.
fn trouble(proxied: &Proxied, code: &str, probability: f64, seed: u64) {
    proxied.fault(
        json!({ "action": "error", "code": code, "message": MARK, "seed": seed,
        "probability": probability }),
    );
    proxied.fault(json!({ "action": "slice", "size": 7, "variation": 6, "on": "request" }));
    proxied.fault(
        json!({ "action": "latency", "probability": 0.3, "seed": seed, "delay":
        { "distribution": "uniform", "min": "0ms", "max": "2ms" } }),
    );
}

fn send_in_pieces(mut stream: &TcpStream, bytes: &[u8], seed: u64) {
    let mut dice = Dice::new(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = rest.len().min(1 + dice.below(60) as usize);
        stream.write_all(&rest[..length]).unwrap();
        rest = &rest[length..];
    }
}

// --- Redis ------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Command {
    Set(u8, u16),
    Get(u8),
    Incr(u8),
    Del(u8),
    Multi,
    Exec,
    Discard,
}

fn command() -> impl Strategy<Value = Command> {
    let key = 0..4_u8;
    prop_oneof![
        (key.clone(), any::<u16>()).prop_map(|(k, v)| Command::Set(k, v)),
        key.clone().prop_map(Command::Get),
        key.clone().prop_map(Command::Incr),
        key.prop_map(Command::Del),
        Just(Command::Multi),
        Just(Command::Exec),
        Just(Command::Exec),
        Just(Command::Discard),
    ]
}

impl Command {
    fn bytes(self) -> String {
        let words = match self {
            Self::Set(k, v) => format!("SET k{k} {v}"),
            Self::Get(k) => format!("GET k{k}"),
            Self::Incr(k) => format!("INCR k{k}"),
            Self::Del(k) => format!("DEL k{k}"),
            Self::Multi => "MULTI".into(),
            Self::Exec => "EXEC".into(),
            Self::Discard => "DISCARD".into(),
        };
        crate::scripted::command(&words.split(' ').collect::<Vec<_>>())
    }
}

/// A Redis with four keys and one connection.
#[derive(Debug, Default)]
struct RedisModel {
    keys: BTreeMap<u8, u64>,
    /// What is queued, and whether something failed there.
    multi: Option<(Vec<Command>, bool)>,
}

impl RedisModel {
    /// Carries a command out, outside of MULTI.
    fn run(&mut self, command: Command) -> String {
        match command {
            Command::Set(k, v) => {
                self.keys.insert(k, u64::from(v));
                "+OK\r\n".into()
            }
            Command::Get(k) => self
                .keys
                .get(&k)
                .map_or("$-1\r\n".into(), |v| crate::scripted::bulk(&v.to_string())),
            Command::Incr(k) => {
                let value = self.keys.entry(k).or_default();
                *value += 1;
                format!(":{value}\r\n")
            }
            Command::Del(k) => format!(":{}\r\n", u8::from(self.keys.remove(&k).is_some())),
            Command::Multi | Command::Exec | Command::Discard => unreachable!("not queued"),
        }
    }

    /// What the client is told.
    fn told(&mut self, command: Command, injected: bool) -> String {
        let error = format!("-OOM {MARK}\r\n");
        match (command, &mut self.multi) {
            // What ends a transaction fails: nothing of it is done.
            (Command::Exec | Command::Discard, multi) if injected => {
                *multi = None;
                error
            }
            // Whatever fails in between spoils it.
            (_, Some((_, failed))) if injected => {
                *failed = true;
                error
            }
            (_, None) if injected => error,
            (Command::Multi, None) => {
                self.multi = Some((Vec::new(), false));
                "+OK\r\n".into()
            }
            (Command::Multi, Some(_)) => "-ERR MULTI calls can not be nested\r\n".into(),
            (Command::Exec, None) => "-ERR EXEC without MULTI\r\n".into(),
            (Command::Discard, None) => "-ERR DISCARD without MULTI\r\n".into(),
            (Command::Discard, multi) => {
                *multi = None;
                "+OK\r\n".into()
            }
            (Command::Exec, Some(_)) => {
                let (queued, failed) = self.multi.take().unwrap();
                if failed {
                    return "-EXECABORT Transaction discarded because of previous errors.\r\n"
                        .into();
                }
                let replies: String = queued.iter().map(|c| self.run(*c)).collect();
                format!("*{}\r\n{replies}", queued.len())
            }
            (command, Some((queued, _))) => {
                queued.push(command);
                "+QUEUED\r\n".into()
            }
            (command, None) => self.run(command),
        }
    }
}

/// Reads until the stream begins with one of these texts; tells which.
fn read_one_of(stream: &mut TcpStream, got: &mut Vec<u8>, wanted: [&str; 2]) -> Option<usize> {
    loop {
        for (index, text) in wanted.iter().enumerate() {
            if got.starts_with(text.as_bytes()) {
                got.drain(..text.len());
                return Some(index);
            }
        }
        let may_come = |text: &&str| text.as_bytes().starts_with(got);
        if !wanted.iter().any(may_come) {
            return None;
        }
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the connection goes on");
        got.extend_from_slice(&piece[..n]);
    }
}

fn redis_case(redis: &Redis, commands: &[Command], probability: f64, seed: u64) {
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    trouble(&proxied, "OOM", probability, seed);
    let mut direct = dial(redis.address());
    direct
        .write_all(crate::scripted::command(&["FLUSHALL"]).as_bytes())
        .unwrap();
    crate::peers::expect(&direct, b"+OK\r\n");
    let mut stream = proxied.connect();
    let asked: String = commands.iter().map(|c| c.bytes()).collect();
    send_in_pieces(&stream, asked.as_bytes(), seed);
    let (mut model, mut got) = (RedisModel::default(), Vec::new());
    let error = format!("-OOM {MARK}\r\n");
    for (place, command) in commands.iter().enumerate() {
        // Either is possible; what comes says which it was.
        let mut other = RedisModel {
            keys: model.keys.clone(),
            multi: model.multi.clone(),
        };
        let wanted = other.told(*command, false);
        let found = read_one_of(&mut stream, &mut got, [&error, &wanted]);
        let text = String::from_utf8_lossy(&got);
        let found = found.unwrap_or_else(|| panic!("{place}: {command:?}: {text}, not {wanted}"));
        if found == 0 {
            model.told(*command, true);
        } else {
            model = other;
        }
    }
    proxied.server.halt();
    for key in 0..4 {
        let get = Command::Get(key);
        direct.write_all(get.bytes().as_bytes()).unwrap();
        crate::peers::expect(&direct, model.run(get).as_bytes());
    }
}

#[test]
fn redis_is_left_as_the_model_says() {
    let redis = Redis::start();
    let mut runner = runner(60);
    let strategy = (
        prop::collection::vec(command(), 1..40),
        0.0..0.6_f64,
        0..u64::from(u32::MAX),
    );
    runner
        .run(&strategy, |(commands, probability, seed)| {
            redis_case(&redis, &commands, probability, seed);
            Ok(())
        })
        .unwrap();
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

// --- Postgres ---------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Put(u8, u16),
    Read(u8),
    Fail,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
}

fn statement() -> impl Strategy<Value = Statement> {
    let key = 0..3_u8;
    prop_oneof![
        3 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Statement::Put(k, v)),
        3 => key.prop_map(Statement::Read),
        1 => Just(Statement::Fail),
        3 => Just(Statement::Begin),
        2 => Just(Statement::Commit),
        1 => Just(Statement::Rollback),
        1 => Just(Statement::Savepoint),
        1 => Just(Statement::RollbackTo),
    ]
}

impl Statement {
    fn bytes(self) -> Vec<u8> {
        let sql = match self {
            Self::Put(k, v) => format!("UPDATE t SET v = {v} WHERE k = {k}"),
            Self::Read(k) => format!("SELECT v FROM t WHERE k = {k}"),
            Self::Fail => "SELECT 1/0".into(),
            Self::Begin => "BEGIN".into(),
            Self::Commit => "COMMIT".into(),
            Self::Rollback => "ROLLBACK".into(),
            Self::Savepoint => "SAVEPOINT s".into(),
            Self::RollbackTo => "ROLLBACK TO SAVEPOINT s".into(),
        };
        brownout::protocol::postgres::inject::query(&sql).to_vec()
    }
}

/// What came of a statement: rows, then how it ended, then the status of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    row: Option<String>,
    end: String,
    status: u8,
}

type Rows = [u16; 3];

/// A PostgreSQL with three rows and one connection.
#[derive(Debug, Clone, Default)]
struct PostgresModel {
    rows: Rows,
    /// The rows before the transaction, and at each savepoint; whether it has failed.
    open: Option<(Rows, Vec<Rows>, bool)>,
}

impl PostgresModel {
    fn status(&self) -> u8 {
        match &self.open {
            None => b'I',
            Some((_, _, false)) => b'T',
            Some((_, _, true)) => b'E',
        }
    }

    fn end(&self, row: Option<String>, end: &str) -> Outcome {
        Outcome {
            row,
            end: end.into(),
            status: self.status(),
        }
    }

    fn fail(&mut self, state: &str) -> Outcome {
        if let Some((_, _, failed)) = &mut self.open {
            *failed = true;
        }
        self.end(None, state)
    }

    /// An error was injected in place of the statement.
    fn injected(&mut self, statement: Statement) -> Outcome {
        if statement == Statement::Commit {
            if let Some((before, _, _)) = self.open.take() {
                self.rows = before;
            }
            return self.end(None, "53100");
        }
        self.fail("53100")
    }

    fn run(&mut self, statement: Statement) -> Outcome {
        use Statement::{Begin, Commit, Fail, Put, Read, Rollback, RollbackTo, Savepoint};
        match (statement, &mut self.open) {
            (Commit | Rollback, Some((before, _, failed))) => {
                if *failed || statement == Rollback {
                    self.rows = *before;
                    self.open = None;
                    return self.end(None, "ROLLBACK");
                }
                self.open = None;
                self.end(None, "COMMIT")
            }
            (Commit, None) => self.end(None, "COMMIT"),
            (Rollback, None) => self.end(None, "ROLLBACK"),
            (RollbackTo, Some((_, points, failed))) => match points.last() {
                None => self.fail("3B001"),
                Some(rows) => {
                    (self.rows, *failed) = (*rows, false);
                    self.end(None, "ROLLBACK")
                }
            },
            (_, Some((_, _, true))) => self.fail("25P02"),
            (Savepoint | RollbackTo, None) => self.fail("25P01"),
            (Savepoint, Some((_, points, _))) => {
                points.push(self.rows);
                self.end(None, "SAVEPOINT")
            }
            (Begin, None) => {
                self.open = Some((self.rows, Vec::new(), false));
                self.end(None, "BEGIN")
            }
            (Begin, Some(_)) => self.end(None, "BEGIN"),
            (Put(k, v), _) => {
                self.rows[usize::from(k)] = v;
                self.end(None, "UPDATE 1")
            }
            (Read(k), _) => {
                let row = self.rows[usize::from(k)].to_string();
                self.end(Some(row), "SELECT 1")
            }
            (Fail, _) => self.fail("22012"),
        }
    }
}

/// Reads the reply to one simple query, up to `ReadyForQuery`.
fn read_outcome(stream: &mut TcpStream) -> (Outcome, bool) {
    let (mut row, mut end, mut marked) = (None, String::new(), false);
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let text = || String::from_utf8_lossy(&body).into_owned();
        match head[0] {
            b'D' => row = Some(text()[6..].to_owned()),
            b'C' => text().trim_end_matches('\0').clone_into(&mut end),
            b'E' => {
                let fields = text();
                let code = fields.split('\0').find_map(|field| field.strip_prefix('C'));
                code.unwrap().clone_into(&mut end);
                marked = fields.contains(MARK);
            }
            b'Z' => {
                let status = body[0];
                return (Outcome { row, end, status }, marked);
            }
            _ => {}
        }
    }
}

fn postgres_case(postgres: &Postgres, statements: &[Statement], probability: f64, seed: u64) {
    let (opening, _) = crate::numbered::postgres_opening();
    let mut direct = dial(postgres.address());
    direct.write_all(&opening).unwrap();
    read_outcome(&mut direct);
    let query = |sql: &str| brownout::protocol::postgres::inject::query(sql).to_vec();
    direct.write_all(&query("UPDATE t SET v = 0")).unwrap();
    assert_eq!(read_outcome(&mut direct).0.end, "UPDATE 3");

    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut stream = proxied.connect();
    stream.write_all(&opening).unwrap();
    read_outcome(&mut stream);
    trouble(&proxied, "53100", probability, seed);
    let asked: Vec<u8> = statements.iter().flat_map(|s| s.bytes()).collect();
    send_in_pieces(&stream, &asked, seed);
    let mut model = PostgresModel::default();
    for (place, statement) in statements.iter().enumerate() {
        let (outcome, injected) = read_outcome(&mut stream);
        let before = model.clone();
        let mut wanted = if injected {
            model.injected(*statement)
        } else {
            model.run(*statement)
        };
        // In a failed transaction the server's own error comes first: whatever was put in its place was refused as well.
        if outcome.end == "25P02" && before.status() == b'E' && !injected {
            model = before.clone();
            wanted = model.fail("25P02");
        }
        assert_eq!(outcome, wanted, "{place}: {statement:?} after {before:?}");
    }
    proxied.server.halt();
    drop(stream);
    proxied.wait_until_idle();
    if let Some((before, _, _)) = model.open.take() {
        model.rows = before;
    }
    for (key, value) in model.rows.iter().enumerate() {
        direct
            .write_all(&Statement::Read(key as u8).bytes())
            .unwrap();
        assert_eq!(read_outcome(&mut direct).0.row, Some(value.to_string()));
    }
}

#[test]
fn postgres_is_left_as_the_model_says() {
    let postgres = Postgres::start();
    postgres.query(
        "CREATE TABLE t (k int PRIMARY KEY, v int); INSERT INTO t VALUES (0, 0), (1, 0), (2, 0)",
    );
    let mut runner = runner(60);
    let strategy = (
        prop::collection::vec(statement(), 1..30),
        0.0..0.5_f64,
        0..u64::from(u32::MAX),
    );
    runner
        .run(&strategy, |(statements, probability, seed)| {
            postgres_case(&postgres, &statements, probability, seed);
            Ok(())
        })
        .unwrap();
}
