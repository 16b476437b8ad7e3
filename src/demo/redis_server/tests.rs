//! The embedded Redis beside the real one: the same requests, byte for byte the same replies; and real clients against it.

use super::start;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A real redis-server of this test's own, ended with it.
struct RealRedis {
    child: Child,
    addr: SocketAddr,
}

impl RealRedis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--dir", std::env::temp_dir().to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, addr }
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

/// Everything the server answers to `bytes` before it hangs up on our half-close.
fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.write_all(bytes).unwrap();
    let mut replies = Vec::new();
    // QUIT, or an error of the protocol, makes the server close.
    socket.read_to_end(&mut replies).unwrap();
    String::from_utf8_lossy(&replies).into_owned()
}

fn pipeline(addr: SocketAddr, lines: &[&str]) -> String {
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
    bytes.extend(request("QUIT"));
    exchange(addr, &bytes)
}

/// Requests, separated by semicolons; a script is one session.
const SCRIPTS: &[&str] = &[
    "PING; PING hi; ECHO hi; PING a b; ECHO; nosuch a b; GET",
    "SELECT 3; SET k v; DBSIZE; SELECT 0; DBSIZE; SELECT 16; SELECT x; FLUSHALL",
    "SET a 1; GET a; SET a 2 NX; SET a 2 XX; SET b 2 XX; SET b 2 NX; SET b 3 GET; GET b; SET c 1 EX 100; \
     TTL c; SET c 1 PX 100000; TTL c; SET c 1; TTL c; TTL nosuch; SET c 1 EX 0; SET c 1 EX x; SET c 1 EX; \
     SET c 1 NX XX; SET c 1 BOGUS; SETEX c 100 v; TTL c; SETEX c -1 v; EXPIRE c 50; TTL c; PERSIST c; \
     PERSIST c; TTL c; EXPIRE c -1; EXISTS c; EXPIRE nosuch 5; SETNX a 5; SETNX d 5; MSET x 1 y 2; MSET \
     x; MGET x y nosuch; STRLEN x; DEL x y nosuch; EXISTS a a nosuch; TYPE a; TYPE nosuch; FLUSHDB",
    "INCR n; INCRBY n 10; DECR n; DECRBY n 3; GET n; SET n 9223372036854775807; INCR n; SET n abc; INCR \
     n; INCRBY n x; SET m 5 EX 100; INCR m; TTL m; DECRBY n -9223372036854775808; FLUSHALL",
    "HSET h f 1; HSET h f 2 g 3; HGET h f; HGET h nosuch; HGET nosuch f; HGETALL h; HLEN h; HEXISTS h f; \
     HDEL h f nosuch; HDEL h g; EXISTS h; HSET h f; SET s 1; HSET s f 1; HGETALL nosuch; HDEL nosuch f; \
     EXISTS nosuch; FLUSHALL",
    "LPUSH l a b c; RPUSH l d; LRANGE l 0 -1; LRANGE l 1 2; LRANGE l -2 -1; LRANGE l 5 9; LRANGE l -100 \
     100; LRANGE l 2 1; LRANGE l x 1; LLEN l; LPOP l; RPOP l; LPOP l 5; LPOP l; LPOP l 2; LPOP l -1; \
     EXISTS l; LLEN nosuch; LRANGE nosuch 0 -1; SET s 1; LPUSH s x; LPOP s; LPOP s 0; RPUSH m a; LPOP m \
     0; LLEN m; TYPE m; FLUSHALL",
    "SADD s b; SADD s b; SMEMBERS s; SCARD s; SISMEMBER s b; SISMEMBER s x; SREM s b; EXISTS s; SMEMBERS \
     nosuch; SET t 1; SADD t a; FLUSHALL",
    "MULTI; SET a 1; INCR a; LPUSH a x; GET a; EXEC; EXEC; DISCARD; MULTI; SET a 9; DISCARD; GET a; \
     MULTI; nosuch; SET a 7; EXEC; GET a; MULTI; GET; EXEC; MULTI; MULTI; EXEC; MULTI; EXEC; MULTI; \
     SUBSCRIBE x; EXEC; FLUSHALL",
    "SUBSCRIBE a b a; GET x; PING; PING hi; PSUBSCRIBE p*; UNSUBSCRIBE a; UNSUBSCRIBE nosuch; \
     UNSUBSCRIBE; PUNSUBSCRIBE; UNSUBSCRIBE; GET x; PUBLISH a hi; SUBSCRIBE a; RESET; PING",
    "SET abc 1; SET abd 1; KEYS ab[a-c]; KEYS a?d; KEYS *c; KEYS x*; CONFIG GET nosuch; AUTH; FLUSHALL",
    "HELLO 3 x; HELLO 4; HELLO x; CLIENT SETNAME me; CLIENT GETNAME; CLIENT SETINFO lib-name x; HELLO 2 \
     SETNAME you; CLIENT GETNAME",
];

/// Replies that name what differs by nature: HELLO's server and version, and subcommands that 7.0 does not have yet.
fn comparable(replies: &str, script: &[&str]) -> String {
    let differs = script.iter().any(|line| line.starts_with("HELLO 2"));
    let Some(at) = replies.find("*14\r\n").filter(|_| differs) else {
        return replies.to_owned();
    };
    let end = replies[at..].find("*0\r\n").unwrap() + at;
    format!("{}{}", &replies[..at], &replies[end..])
}

#[tokio::test(flavor = "current_thread")]
async fn replies_equal_those_of_the_real_server() {
    let ours = start().await.unwrap();
    let addr = ours.addr();
    tokio::task::spawn_blocking(move || {
        let real = RealRedis::start();
        for script in SCRIPTS {
            let script: Vec<_> = script
                .split("; ")
                .filter(|line| !line.starts_with("CLIENT SETINFO"))
                .collect();
            let expected = comparable(&pipeline(real.addr, &script), &script);
            let actual = comparable(&pipeline(addr, &script), &script);
            assert_eq!(actual, expected, "{script:?}");
        }
    })
    .await
    .unwrap();
    ours.shutdown().await;
}

#[tokio::test(flavor = "current_thread")]
async fn resp3_replies_equal_those_of_the_real_server() {
    let ours = start().await.unwrap();
    let addr = ours.addr();
    tokio::task::spawn_blocking(move || {
        let real = RealRedis::start();
        let script = "GET nosuch; HSET h f 1; HGETALL h; SADD s a; SMEMBERS s; CONFIG GET nosuch; LPOP nosuch 1; SUBSCRIBE \
            a; PUBLISH a hi; GET x; PSUBSCRIBE b*; UNSUBSCRIBE; PUNSUBSCRIBE; UNSUBSCRIBE; MULTI; GET nosuch; \
            HGETALL h; EXEC; LRANGE nosuch 0 1; nosuch";
        let after_hello = |addr| {
            let mut lines = vec!["HELLO 3"];
            lines.extend(script.split("; "));
            let replies = pipeline(addr, &lines);
            assert!(replies.starts_with("%7\r\n"), "a map: {replies}");
            replies[replies.find("_\r\n").unwrap()..].to_owned()
        };
        // The message that a session publishes to itself: the real server writes it before or after PUBLISH's reply,
        // depending on its version. Both orders are the same to a client, since a push belongs to no request.
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
        let (expected, actual) = (after_hello(real.addr), after_hello(addr));
        assert!(
            expected.contains(message) && actual.contains(message),
            "{actual}"
        );
        assert_eq!(actual.replace(message, ""), expected.replace(message, ""));
    })
    .await
    .unwrap();
    ours.shutdown().await;
}

#[tokio::test(flavor = "current_thread")]
async fn bad_requests_end_the_session_with_the_real_servers_words() {
    let ours = start().await.unwrap();
    let addr = ours.addr();
    tokio::task::spawn_blocking(move || {
        let real = RealRedis::start();
        let nested = "*1\r\n".repeat(50);
        for (bytes, expected) in [
            (
                "*3000000000\r\n",
                "-ERR Protocol error: invalid multibulk length\r\n",
            ),
            (
                "*x\r\n",
                "-ERR Protocol error: invalid multibulk length\r\n",
            ),
            (
                "*1\r\n$-5\r\n",
                "-ERR Protocol error: invalid bulk length\r\n",
            ),
            (
                "*1\r\n$99999999999999999999\r\n",
                "-ERR Protocol error: invalid bulk length\r\n",
            ),
            (nested.as_str(), "-ERR Protocol error: expected '$'"),
        ] {
            let actual = exchange(addr, bytes.as_bytes());
            assert!(actual.starts_with(expected), "{actual}");
            let start = bytes.get(..64).unwrap_or(bytes);
            let real = exchange(real.addr, start.as_bytes());
            assert!(real.starts_with(expected), "{real}");
        }
        // What each end accepts beyond well-formed arrays: inline commands, empty requests, pieces.
        assert_eq!(
            exchange(addr, b"\r\nPING\r\n*0\r\n*-1\r\nquit\n"),
            "+PONG\r\n+OK\r\n"
        );
        let mut socket = TcpStream::connect(addr).unwrap();
        for byte in request("ECHO hello") {
            socket.write_all(&[byte]).unwrap();
        }
        let mut reply = [0; 11];
        socket.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"$5\r\nhello\r\n");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn keys_expire() {
    let ours = start().await.unwrap();
    let addr = ours.addr();
    tokio::task::spawn_blocking(move || {
        assert_eq!(
            pipeline(addr, &["SET k v PX 40", "EXISTS k"]),
            "+OK\r\n:1\r\n+OK\r\n"
        );
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(
            pipeline(addr, &["EXISTS k", "GET k", "TTL k", "DBSIZE", "LPUSH k x"]),
            ":0\r\n$-1\r\n:-2\r\n:0\r\n:1\r\n+OK\r\n"
        );
    })
    .await
    .unwrap();
}

/// Runs a real client to its end and returns what it printed.
async fn run(
    program: &'static str,
    addr: SocketAddr,
    arguments: &'static [&'static str],
) -> String {
    tokio::task::spawn_blocking(move || {
        let output = Command::new(program)
            .args(["-h", "127.0.0.1", "-p", &addr.port().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{program} must be installed: {e}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {text} {errors}");
        text
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn redis_cli_works() {
    let ours = start().await.unwrap();
    let addr = ours.addr();
    assert_eq!(
        run("redis-cli", addr, &["SET", "key", "two words"]).await,
        "OK\n"
    );
    assert_eq!(run("redis-cli", addr, &["GET", "key"]).await, "two words\n");
    assert_eq!(
        run("redis-cli", addr, &["-3", "-n", "2", "HGETALL", "none"]).await,
        "\n"
    );
    assert_eq!(
        run(
            "redis-cli",
            addr,
            &["-a", "any", "--no-auth-warning", "INCR", "n"]
        )
        .await,
        "1\n"
    );
    let info = run("redis-cli", addr, &["INFO"]).await;
    assert!(
        info.contains("db0:keys=2\r\n") && info.contains("connected_clients:1\r\n"),
        "{info}"
    );
    ours.shutdown().await;
}

#[tokio::test(flavor = "current_thread")]
async fn redis_benchmark_works() {
    const TESTS: &str =
        "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,lrange_100,mset";
    let ours = start().await.unwrap();
    let csv = run(
        "redis-benchmark",
        ours.addr(),
        &["-t", TESTS, "-n", "400", "-c", "10", "-P", "4", "--csv"],
    )
    .await;
    for test in "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET".split(' ') {
        assert!(csv.contains(&format!("\"{test}\",")), "{test} in {csv}");
    }
    ours.shutdown().await;
}
