//! Drives a server of Toxiproxy's API with two clients, as they come from the registry: `rust-clients ADMIN REDIS`, two addresses.
//! Ends with a panic where something is not as it should be.

use noxious_client::error::ClientError;
use noxious_client::{Client, ProxyConfig, StreamDirection, Toxic, ToxicKind};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

/// What a Redis answers to PING on a new connection, until it pauses or ends, and how long the first byte takes.
fn ping(address: &str) -> std::io::Result<(Vec<u8>, Duration)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"PING\r\n")?;
    let (mut reply, mut first) = (Vec::new(), None);
    let mut piece = [0; 16];
    while reply.len() < PONG.len() {
        let n = stream.read(&mut piece)?;
        first.get_or_insert_with(|| began.elapsed());
        if n == 0 {
            break;
        }
        reply.extend_from_slice(&piece[..n]);
    }
    Ok((reply, first.unwrap_or_default()))
}

const PONG: &[u8] = b"+PONG\r\n";

/// A port that was free a moment ago: neither client reads where a proxy with port 0 came to listen.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

/// What each toxic does: what comes back, and after how long at least.
fn check(address: &str, what: &str, reply: &[u8], least: u64) {
    let (got, took) = ping(address).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(got, reply, "{what}");
    assert!(took >= Duration::from_millis(least), "{what}: {took:?}");
}

fn toxiproxy_rust(admin: &str, redis: &str) {
    let client = toxiproxy_rust::client::Client::new(admin);
    assert!(client.is_running());
    let version = client.version().expect("a version");
    assert!(version.contains("2."), "{version}");
    let listen = free();
    let pack = || ProxyPack::new("cache".into(), listen.clone(), redis.into());
    let made = client.populate(vec![pack()]).expect("populated");
    let [proxy] = &made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(proxy.proxy_pack.listen, listen);
    check(&listen, "nothing", PONG, 0);
    // Again: it is the same, and stays.
    assert_eq!(client.populate(vec![pack()]).expect("again").len(), 1);

    type Add = fn(&Proxy) -> &Proxy;
    let toxics: [(&str, Add, &[u8], u64); 6] = [
        (
            "latency",
            |p| p.with_latency("downstream".into(), 80, 0, 1.0),
            PONG,
            80,
        ),
        (
            "bandwidth",
            |p| p.with_bandwidth("upstream".into(), 1000, 1.0),
            PONG,
            0,
        ),
        (
            "slow_close",
            |p| p.with_slow_close("downstream".into(), 10, 1.0),
            PONG,
            0,
        ),
        (
            "timeout",
            |p| p.with_timeout("downstream".into(), 100, 1.0),
            b"",
            100,
        ),
        (
            "slicer",
            |p| p.with_slicer("downstream".into(), 2, 1, 10, 1.0),
            PONG,
            0,
        ),
        (
            "limit_data",
            |p| p.with_limit_data("downstream".into(), 3, 1.0),
            b"+PO",
            0,
        ),
    ];
    for (name, add, reply, least) in toxics {
        let applied = add(proxy).apply(|| {
            let toxics = proxy.toxics().expect("a list");
            let [toxic] = &toxics[..] else {
                panic!("{toxics:?}")
            };
            assert_eq!((&*toxic.r#type, toxic.toxicity), (name, 1.0));
            check(&listen, name, reply, least);
        });
        applied.expect("taken away");
        assert!(proxy.toxics().expect("a list").is_empty(), "{name}");
    }
    proxy
        .with_down(|| assert!(ping(&listen).is_err(), "it is down"))
        .expect("down and up");
    check(&listen, "up again", PONG, 0);

    proxy.with_latency("downstream".into(), 60_000, 0, 1.0);
    proxy.disable().expect("off");
    client.reset().expect("reset");
    check(&listen, "after a reset", PONG, 0);
    assert_eq!(client.all().expect("a list").len(), 1);
    let found = client.find_and_reset_proxy("cache").expect("found");
    assert!(found.proxy_pack.enabled && found.proxy_pack.toxics.is_empty());
    assert!(client.find_proxy("other").is_err());
    found.delete().expect("removed");
    assert!(client.all().expect("a list").is_empty());
}

fn toxic(kind: ToxicKind, direction: StreamDirection) -> Toxic {
    Toxic {
        kind,
        name: "t".into(),
        toxicity: 1.0,
        direction,
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, status: u16, message: &str) {
    match answer.expect_err("a refusal") {
        ClientError::ApiError(error) => {
            assert_eq!((error.status_code, &*error.message), (status, message));
        }
        other => panic!("{other}"),
    }
}

async fn noxious(admin: &str, redis: &str) {
    use StreamDirection::{Downstream, Upstream};
    let client = Client::new(admin);
    assert!(client.proxies().await.expect("a list").is_empty());
    refused(client.proxy("cache").await, 404, "proxy not found");
    let listen = free();
    let made = client.create_proxy("cache", &listen, redis).await;
    let mut proxy = made.expect("made");
    refused(
        client.create_proxy("cache", &listen, redis).await,
        409,
        "proxy already exists",
    );
    check(&listen, "nothing", PONG, 0);
    let slicer = ToxicKind::Slicer {
        average_size: 2,
        size_variation: 1,
        delay: 10,
    };
    let latency = |latency| ToxicKind::Latency { latency, jitter: 0 };
    for (kind, direction, reply, least) in [
        (latency(80), Downstream, PONG, 80),
        (latency(80), Upstream, PONG, 80),
        (ToxicKind::Bandwidth { rate: 1000 }, Upstream, PONG, 0),
        (ToxicKind::SlowClose { delay: 10 }, Downstream, PONG, 0),
        (ToxicKind::Timeout { timeout: 100 }, Downstream, b"", 100),
        (slicer, Downstream, PONG, 0),
        (ToxicKind::LimitData { bytes: 3 }, Downstream, b"+PO", 0),
    ] {
        let wanted = toxic(kind, direction);
        let what = format!("{kind:?} {direction:?}");
        let made = proxy.add_toxic(&wanted).await.expect(&what);
        // Equal to it are all of one name.
        let all = |t: &Toxic| (t.name.clone(), t.kind, t.direction, t.toxicity);
        assert_eq!(all(&made), all(&wanted), "{what}");
        let listed = proxy.toxics().await.expect("a list");
        assert_eq!(listed.iter().map(all).collect::<Vec<_>>(), [all(&wanted)]);
        refused(proxy.add_toxic(&wanted).await, 409, "toxic already exists");
        check(&listen, &what, reply, least);
        proxy.remove_toxic("t").await.expect("removed");
    }
    refused(proxy.remove_toxic("t").await, 404, "toxic not found");
    let noop = toxic(ToxicKind::Noop, Downstream);
    refused(proxy.add_toxic(&noop).await, 400, "invalid toxic type");
    let added = proxy.add_toxic(&toxic(latency(60_000), Downstream)).await;
    added.expect("added");
    let changed = proxy.update_toxic("t", 1.0, latency(60), Downstream).await;
    assert_eq!(changed.expect("changed").kind, latency(60));
    check(&listen, "changed", PONG, 60);

    proxy.disable().await.expect("off");
    assert!(ping(&listen).is_err(), "it is down");
    client.reset_state().await.expect("reset");
    check(&listen, "after a reset", PONG, 0);
    assert!(client.proxy("cache").await.expect("found").is_enabled());

    // It reads a list where Toxiproxy answers with an object that has one; done it is all the same.
    let second: ProxyConfig = ProxyConfig {
        name: "second".into(),
        listen: free(),
        upstream: redis.into(),
        enabled: true,
        rand_seed: None,
    };
    let populated = client.populate(std::slice::from_ref(&second)).await;
    assert!(matches!(populated, Err(ClientError::IoError(_))));
    check(&second.listen, "second", PONG, 0);
    for (_, proxy) in client.proxies().await.expect("a list") {
        proxy.delete().await.expect("removed");
    }
    assert!(client.proxies().await.expect("a list").is_empty());
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [admin, redis] = &arguments[..] else {
        panic!("rust-clients ADMIN REDIS")
    };
    // It has a runtime of its own, which cannot be made inside another.
    toxiproxy_rust(admin, redis);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(noxious(admin, redis));
}
