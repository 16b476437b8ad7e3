//! The helpers of the integration tests, tried on real servers without the proxy: when these fail, look here first.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;
use support::{
    Postgres, Process, Redis, cpu_time, eventually, open_descriptors, request, resident_bytes,
};

#[test]
fn redis_answers_and_ends_with_its_handle() {
    let redis = Redis::start();
    assert_eq!(redis.command(&["SET", "key", "value"]), "+OK\r\n");
    assert_eq!(redis.command(&["GET", "key"]), "$5\r\nvalue");
    let address = redis.address();
    drop(redis);
    std::net::TcpStream::connect(address).expect_err("the server must be gone");
}

#[test]
fn redis_with_a_password_refuses_strangers() {
    let redis = Redis::start_with_password("open sesame");
    let refusal = request(redis.address(), "PING", "/", None);
    assert!(refusal.is_err(), "HTTP is not answered as HTTP");
    assert_eq!(redis.command(&["PING"]), "+PONG\r\n");
}

#[test]
fn two_postgres_servers_live_side_by_side() {
    let (first, second) = (Postgres::start(), Postgres::start());
    first.query("create table only_here (n int)");
    assert_eq!(first.query("select count(*) from only_here"), "0\n");
    let elsewhere = "select to_regclass('only_here') is null";
    assert_eq!(second.query(elsewhere), "t\n");
    let socket = format!(".s.PGSQL.{}", first.address().port());
    assert!(first.socket_directory().join(socket).exists());
}

#[test]
fn a_missing_program_is_a_panic_with_the_remedy() {
    let start = || Process::start(&mut Command::new("no-such-server"), "install it");
    let panic = std::panic::catch_unwind(start)
        .err()
        .and_then(|payload| payload.downcast::<String>().ok());
    let message = panic.expect("a panic with a message");
    assert!(
        message.contains("no-such-server") && message.contains("install it"),
        "{message}"
    );
}

#[test]
fn a_child_that_ends_early_is_told_with_its_own_words() {
    let wait = || {
        let mut command = Command::new("sh");
        let mut child = Process::start(command.args(["-c", "echo alas >&2; exit 3"]), "");
        child.until(Duration::from_secs(10), |_| None::<()>);
    };
    let panic = std::panic::catch_unwind(wait)
        .err()
        .and_then(|payload| payload.downcast::<String>().ok());
    let message = panic.expect("a panic with a message");
    assert!(message.contains("exit status: 3"), "{message}");
}

#[test]
fn a_dropped_process_takes_its_children_along() {
    let mut command = Command::new("sh");
    let script = "sleep 600 & echo $! >&2; wait";
    let mut parent = Process::start(command.args(["-c", script]), "");
    let grandchild: u32 = parent.until(Duration::from_secs(10), |stderr| {
        stderr.trim_end().parse().ok()
    });
    drop(parent);
    let gone = || (!is_running(grandchild)).then_some(());
    eventually("the grandchild to be gone", Duration::from_secs(10), gone);
}

#[test]
fn http_replies_are_read_whole_with_length_and_in_chunks() {
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
    let chunked = "HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\nx-why: test\r\n\r\n\
        6\r\n{\"ok\":\r\n5\r\ntrue}\r\n0\r\n\r\n";
    for (reply, status) in [(plain, 200), (chunked, 409)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let answer = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let n = client.read(&mut head).unwrap();
            client.write_all(reply.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..n]).into_owned()
        });
        let got = request(server, "GET", "/v1/stats", None).unwrap();
        assert_eq!(got.status, status);
        assert_eq!(got.json()["ok"], true);
        assert_eq!(got.header("X-Why").is_some(), status == 409);
        assert!(
            answer
                .join()
                .unwrap()
                .starts_with("GET /v1/stats HTTP/1.1\r\n")
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_tells_cpu_memory_and_descriptors() {
    let me = std::process::id();
    let before = cpu_time(me);
    let spin = std::time::Instant::now();
    // A shared machine may give it little for a while, but never nothing.
    while cpu_time(me) <= before + Duration::from_millis(20) {
        assert!(spin.elapsed() < Duration::from_secs(20));
    }
    assert!(resident_bytes(me) > 1 << 20);
    let few = open_descriptors(me);
    let held: Vec<_> = (0..50)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    assert!(open_descriptors(me) >= few.min(10) + held.len());
}

/// Whether a process exists and is no zombie waiting for its reaper.
fn is_running(pid: u32) -> bool {
    let mut ps = Command::new("ps");
    let state = ps.args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let state = state.expect("ps is everywhere").stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}
