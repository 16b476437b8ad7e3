//! Errors on Redis in every state of a connection, against a real server: what is left must be what the real error leaves.

use crate::harness::{Events, Proxied};
use crate::peers::{End, expect, expect_silence, read_to_end};
use crate::scripted::command;
use crate::support::Redis;
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

fn start() -> (Redis, Proxied, TcpStream) {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let client = proxied.connect();
    (redis, proxied, client)
}

/// Answers these operations with an error.
fn fail(proxied: &Proxied, operation: &str) {
    let matching = json!({ "operation": operation });
    let spec = json!({ "name": "e", "action": "error", "preset": "OOM", "match": matching });
    proxied.fault(spec);
}

fn ask(mut client: &TcpStream, commands: &[&[&str]], reply: &str) {
    let asked: String = commands.iter().map(|words| command(words)).collect();
    client.write_all(asked.as_bytes()).unwrap();
    expect(client, reply.as_bytes());
}

fn skipped(events: &mut Events) -> &'static str {
    events.find("the skip in the event stream", |event| match event {
        Event::Skipped { reason, .. } => Some(*reason),
        _ => None,
    })
}

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

#[test]
fn a_command_that_is_queued_piece_by_piece_fails_when_it_is_complete() {
    let (redis, proxied, mut client) = start();
    fail(&proxied, "SET");
    ask(&client, &[&["MULTI"]], "+OK\r\n");
    for lapses in [false, true] {
        client.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\n").unwrap();
        expect_silence(&client, Duration::from_millis(100));
        if lapses {
            // Its request is on its way in another form: it fails all the same.
            proxied.server.remove_fault("e").unwrap();
        }
        client.write_all(b"a\r\n$1\r\n1\r\n").unwrap();
        expect(&client, OOM.as_bytes());
    }
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    ask(
        &client,
        &[&["EXEC"], &["PING"]],
        &[aborted, "+PONG\r\n"].concat(),
    );
    assert_eq!(redis.command(&["DBSIZE"]), ":0\r\n");
    assert!(proxied.figures().tap_lost.is_empty());
}

#[test]
fn queued_in_multi_the_server_knows_and_exec_aborts() {
    let (redis, proxied, client) = start();
    fail(&proxied, "SET");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let block: &[&[&str]] = &[&["MULTI"], &["INCR", "n"], &["SET", "a", "1"], &["EXEC"]];
    // Pipelined, and one after the other.
    let replies = ["+OK\r\n", "+QUEUED\r\n", OOM, aborted];
    ask(&client, block, &replies.concat());
    for (command, reply) in block.iter().zip(replies) {
        ask(&client, &[command], reply);
    }
    ask(
        &client,
        &[&["EXISTS", "a", "n"], &["PING"]],
        ":0\r\n+PONG\r\n",
    );
    assert_eq!(redis.command(&["DBSIZE"]), ":0\r\n");

    let listed = proxied.listed("e");
    assert_eq!((listed.matched, listed.injected, listed.skipped), (2, 2, 0));
    let figures = proxied.figures();
    let set = figures.operation("SET").unwrap();
    assert_eq!((set.exchanges.count, set.exchanges.errors), (2, 2));
    assert_eq!(set.exchanges.by_status["OOM"], 2);

    proxied.server.remove_fault("e").unwrap();
    ask(
        &client,
        block,
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n",
    );
}

#[test]
fn an_exec_that_fails_discards() {
    let (redis, proxied, client) = start();
    fail(&proxied, "EXEC");
    let block: &[&[&str]] = &[&["WATCH", "a"], &["MULTI"], &["SET", "a", "1"], &["EXEC"]];
    let queued = "+OK\r\n+OK\r\n+QUEUED\r\n";
    ask(&client, block, &(queued.to_owned() + OOM));
    // Neither in a transaction any more nor watching.
    ask(
        &client,
        &[&["SET", "b", "1"], &["GET", "a"]],
        "+OK\r\n$-1\r\n",
    );
    assert_eq!(redis.command(&["EXISTS", "a"]), ":0\r\n");
    // With no transaction open there is nothing to discard: the server never sees it.
    ask(
        &client,
        &[&["EXEC"], &["PING"]],
        &(OOM.to_owned() + "+PONG\r\n"),
    );
    let commands = redis.command(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_discard:calls=1,"), "{commands}");
    assert!(!commands.contains("cmdstat_exec"), "{commands}");
    proxied.server.remove_fault("e").unwrap();
    ask(&client, block, &(queued.to_owned() + "*1\r\n+OK\r\n"));
}

#[test]
fn a_latency_delays_an_exchanged_reply_too() {
    let (_redis, proxied, client) = start();
    ask(&client, &[&["MULTI"]], "+OK\r\n");
    fail(&proxied, "EXEC");
    proxied.fault(json!({ "action": "latency", "delay": "80ms" }));
    let started = std::time::Instant::now();
    ask(&client, &[&["EXEC"]], OOM);
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[test]
fn one_that_closes_leaves_nothing_queued() {
    let (redis, proxied, mut client) = start();
    let spec =
        json!({ "action": "error", "preset": "MAXCLIENTS", "match": { "operation": "SET" } });
    proxied.fault(spec);
    let block: &[&[&str]] = &[
        &["MULTI"],
        &["INCR", "n"],
        &["SET", "a", "1"],
        &["EXEC"],
        &["INCR", "n"],
    ];
    let asked: String = block.iter().map(|words| command(words)).collect();
    client.write_all(asked.as_bytes()).unwrap();
    let wanted = "+OK\r\n+QUEUED\r\n-ERR max number of clients reached\r\n";
    let (got, end) = read_to_end(&client);
    assert_eq!((&*String::from_utf8(got).unwrap(), end), (wanted, End::Fin));
    proxied.wait_until_idle();
    // What was pipelined behind it went nowhere.
    assert_eq!(redis.command(&["DBSIZE"]), ":0\r\n");
}

#[test]
fn subscribed_in_resp2_only_subscribing_fails() {
    let (redis, proxied, client) = start();
    let confirmed = |name: &str, count: u32| {
        format!(
            "*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:{count}\r\n",
            name.len()
        )
    };
    ask(&client, &[&["SUBSCRIBE", "a"]], &confirmed("a", 1));
    let mut events = proxied.events();
    fail(&proxied, "*");
    ask(&client, &[&["SUBSCRIBE", "b"]], OOM);
    assert_eq!(redis.command(&["PUBLISH", "b", "x"]), ":0\r\n");
    ask(&client, &[&["PING"]], "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(skipped(&mut events), "subscribed");
    // Still subscribed to what it was.
    assert_eq!(redis.command(&["PUBLISH", "a", "x"]), ":1\r\n");
    expect(&client, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    proxied.server.remove_fault("e").unwrap();
    ask(&client, &[&["SUBSCRIBE", "b"]], &confirmed("b", 2));
}

#[test]
fn subscribed_in_resp3_everything_can_fail() {
    let (redis, proxied, mut client) = start();
    let hello = command(&["HELLO", "3"]);
    client.write_all(hello.as_bytes()).unwrap();
    ask(&client, &[], "%7\r\n");
    let mut seen = Vec::new();
    while !seen.ends_with(b"$7\r\nmodules\r\n*0\r\n") {
        seen.extend(crate::peers::read_exactly(&client, 1));
    }
    ask(
        &client,
        &[&["SUBSCRIBE", "a"]],
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    );
    fail(&proxied, "*");
    ask(
        &client,
        &[&["SUBSCRIBE", "b"], &["GET", "k"]],
        &(OOM.to_owned() + OOM),
    );
    assert_eq!(redis.command(&["PUBLISH", "a", "x"]), ":1\r\n");
    expect(&client, b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    proxied.server.remove_fault("e").unwrap();
    ask(&client, &[&["SET", "k", "1"]], "+OK\r\n");
}

/// An answer of ours must not land inside a message that the server is still sending.
#[test]
fn an_answer_waits_for_the_end_of_a_message() {
    let (proxied, upstream) = Proxied::before(Protocol::Redis);
    let (client, mut server) = proxied.session(&upstream);
    (&client)
        .write_all(command(&["SUBSCRIBE", "a"]).as_bytes())
        .unwrap();
    crate::peers::read_exactly(&server, command(&["SUBSCRIBE", "a"]).len());
    let confirmed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    server.write_all(confirmed).unwrap();
    expect(&client, confirmed);
    fail(&proxied, "*");
    let message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n";
    server.write_all(&message[..20]).unwrap();
    expect(&client, &message[..20]);
    (&client)
        .write_all(command(&["UNSUBSCRIBE", "a"]).as_bytes())
        .unwrap();
    expect_silence(&client, Duration::from_millis(50));
    server.write_all(&message[20..]).unwrap();
    expect(&client, &message[20..]);
    expect(&client, OOM.as_bytes());
}
