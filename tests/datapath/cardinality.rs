//! Names come from the wire, and nobody may make series or memory of them: a million of each kind, drawn at random.
#![cfg(target_os = "linux")]

use crate::peers::{LIMIT, accept, dial};
use crate::support::{Brownout, Directory, eventually, resident_bytes};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

/// Exchanges of a session, all under way at once.
const BATCH: usize = 500;

/// Sessions until everything that is bounded is at its bound.
const WARM: usize = 400;

/// Sessions in all.
const ALL: usize = 2_000;

struct Draw(Xoshiro256PlusPlus);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len() as u64) as usize]
    }

    fn text(&mut self, letters: &[u8], length: u64) -> String {
        (0..length)
            .map(|_| char::from(letters[self.below(letters.len() as u64) as usize]))
            .collect()
    }

    /// A word that is no command: none ends in a digit.
    fn word(&mut self) -> String {
        let length = 2 + self.below(12);
        let digit = self.below(10);
        self.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", length) + &digit.to_string()
    }

    fn seldom(&mut self) -> bool {
        self.below(8) == 0
    }
}

/// What one session says, and what it is told.
#[derive(Default)]
struct Said {
    opening: Vec<u8>,
    welcome: Vec<u8>,
    requests: Vec<u8>,
    replies: Vec<u8>,
}

type Say = fn(&mut Draw) -> Said;

fn resp(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(text, "${}\r\n{word}\r\n", word.len());
    }
    text
}

fn redis(draw: &mut Draw) -> Said {
    let mut said = Said {
        opening: resp(&["CLIENT", "SETNAME", &draw.word()]).into_bytes(),
        welcome: b"+OK\r\n".to_vec(),
        ..Said::default()
    };
    for _ in 0..BATCH {
        let command = if draw.seldom() {
            draw.of(&["GET", "SET", "HGETALL"]).to_owned()
        } else {
            draw.word()
        };
        let words = [&command, &*draw.word(), &draw.word()];
        said.requests.extend(resp(&words).into_bytes());
        let reply = format!("-{} no\r\n", draw.word());
        said.replies.extend(reply.into_bytes());
    }
    said
}

fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    [kind, &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn postgres(draw: &mut Draw) -> Said {
    let names = [draw.word(), draw.word(), draw.word()];
    let [user, database, application] = &names;
    let startup = format!(
        "\0\x03\0\0user\0{user}\0database\0{database}\0application_name\0{application}\0\0"
    );
    let ready = message(b"Z", b"I");
    let mut said = Said {
        opening: message(b"", startup.as_bytes()),
        welcome: [message(b"R", &[0; 4]), ready.clone()].concat(),
        ..Said::default()
    };
    for _ in 0..BATCH {
        let verb = if draw.seldom() {
            draw.of(&["select", "insert into", "delete from", "update"])
                .to_owned()
        } else {
            draw.word()
        };
        let (table, literal) = (draw.word(), draw.word());
        let sql = format!("{verb} {table} where a = '{literal}'\0");
        said.requests.extend(message(b"Q", sql.as_bytes()));
        let state = draw.text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 5);
        let error = format!("SERROR\0VERROR\0C{state}\0Mno\0\0");
        said.replies.extend(message(b"E", error.as_bytes()));
        said.replies.extend_from_slice(&ready);
    }
    said
}

fn http(draw: &mut Draw) -> Said {
    let mut said = Said::default();
    for _ in 0..BATCH {
        let method = if draw.seldom() {
            draw.of(&["GET", "POST"]).to_owned()
        } else {
            draw.word()
        };
        let place = if draw.seldom() { "/items" } else { "" };
        let path = format!("{place}/{}?{}", draw.word(), draw.word());
        let (host, agent) = (draw.word(), draw.word());
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\n\r\n");
        said.requests.extend(head.into_bytes());
        let status = 200 + draw.below(400);
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-length: 0\r\n\r\n",
            draw.word()
        );
        said.replies.extend(head.into_bytes());
    }
    said
}

/// So many sessions, one after the other.
fn talk(proxy: SocketAddr, upstream: &TcpListener, sessions: usize, mut say: impl FnMut() -> Said) {
    let pass = |mut from: &std::net::TcpStream, mut to: &std::net::TcpStream, bytes: &[u8]| {
        from.write_all(bytes).unwrap();
        let mut got = vec![0; bytes.len()];
        to.read_exact(&mut got).unwrap();
        assert!(got == bytes, "what arrives is what was sent");
    };
    for _ in 0..sessions {
        let said = say();
        let client = dial(proxy);
        let server = accept(upstream);
        pass(&client, &server, &said.opening);
        pass(&server, &client, &said.welcome);
        pass(&client, &server, &said.requests);
        pass(&server, &client, &said.replies);
    }
}

/// What may not grow: bytes resident, series, and bytes of `/v1/stats`.
#[derive(Debug)]
struct Size {
    resident: u64,
    series: u64,
    stats: usize,
}

fn size(brownout: &Brownout, exchanges: usize) -> Size {
    let proxies = eventually("every exchange to be counted", LIMIT, || {
        let reply = brownout.get("/v1/stats").json();
        let proxies = reply["proxies"].as_array().unwrap().clone();
        let of = |proxy: &serde_json::Value| proxy["total"]["count"].as_u64().unwrap();
        let all = proxies.iter().all(|p| of(p) >= exchanges as u64);
        all.then_some(proxies)
    });
    for proxy in &proxies {
        let operations = proxy["operations"].as_array().unwrap();
        // Of HTTP 200 paths are learned, each with the three methods that there are here: GET, POST and others.
        let bound = if proxy["name"] == "http" { 3 * 204 } else { 40 };
        assert!(operations.len() <= bound, "{operations:?}");
    }
    let figures = brownout.get("/metrics").body;
    assert!(!figures.contains("brownout_tap_lost_total{"), "it followed");
    let samples = figures
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    Size {
        resident: resident_bytes(brownout.id()),
        series: samples.count() as u64,
        stats: brownout.get("/v1/stats").body.len(),
    }
}

#[test]
fn a_million_names_of_each_kind_make_neither_series_nor_memory() {
    const SPOKEN: [(&str, Say); 3] = [("redis", redis), ("postgres", postgres), ("http", http)];
    let upstreams = SPOKEN.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut config = String::new();
    for ((name, _), upstream) in SPOKEN.iter().zip(&upstreams) {
        let at = upstream.local_addr().unwrap();
        let _ = writeln!(
            config,
            "[[proxy]]\nname = \"{name}\"\nprotocol = \"{name}\"\nlisten = \"0\"\nupstream = \"{at}\""
        );
    }
    config.push_str("routes = [\"/items/{id}\"]\n");
    let folder = Directory::new("cardinality");
    let file = folder.write("b.toml", &config);
    let brownout = Brownout::start(&["--config", file.to_str().unwrap()]);
    let mut draws = [1, 2, 3].map(|seed| Draw(Xoshiro256PlusPlus::seed_from_u64(seed)));
    let mut run = |sessions: usize| {
        std::thread::scope(|scope| {
            for (((name, say), upstream), draw) in
                SPOKEN.iter().zip(&upstreams).zip(draws.iter_mut())
            {
                let proxy = brownout.proxy(name);
                scope.spawn(move || talk(proxy, upstream, sessions, || say(draw)));
            }
        });
    };
    run(WARM);
    let warm = size(&brownout, WARM * BATCH);
    run(ALL - WARM);
    let end = size(&brownout, ALL * BATCH);
    println!(
        "NAMES {} of each of three protocols: {warm:?} after {}, {end:?} at the end",
        ALL * BATCH,
        WARM * BATCH
    );
    assert!(end.series <= 10_000, "{end:?}");
    // Seldom pairs of a path and a status are still met for the first time.
    assert!(
        end.series <= warm.series + warm.series / 50,
        "{warm:?} {end:?}"
    );
    assert!(end.stats <= warm.stats + warm.stats / 4, "{warm:?} {end:?}");
    // Histograms and the last minute's slices fill up. One word kept of each exchange would be 18 MiB.
    assert!(
        end.resident <= warm.resident + (9 << 20),
        "{warm:?} {end:?}"
    );
}
