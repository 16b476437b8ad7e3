//! Upstreams that speak just enough of a protocol, and remember what they were asked.

use crate::peers::{LIMIT, Serving};
use crate::support::eventually;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A scripted upstream.
pub(crate) struct Scripted {
    serving: Serving,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Redis: `ECHO` and `GET` answer their argument after `pause`, everything else is `+OK`.
    pub(crate) fn redis(pause: Duration) -> Self {
        Self::start(move |stream, seen| redis(stream, pause, seen))
    }

    /// HTTP: 200 with method and target as the body.
    pub(crate) fn http() -> Self {
        Self::start(http)
    }

    fn start(
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) -> Option<()> + Clone + Send + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&seen);
        let serving = Serving::start(move |stream| {
            // Ends with the connection, however that ends.
            let _ = serve(stream, &kept);
        });
        Self { serving, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// What it was asked since the last look, by connections that have all ended.
    pub(crate) fn seen_in_all(&self) -> Vec<String> {
        // Each connection holds one more than this one here and the listener's.
        eventually("the upstream to have read all", LIMIT, || {
            (Arc::strong_count(&self.seen) == 2).then_some(())
        });
        self.seen()
    }

    /// What it was asked since the last look.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn redis(mut stream: TcpStream, pause: Duration, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let count = length(&mut reader, '*')?;
        let words: Option<Vec<String>> = (0..count)
            .map(|_| {
                let size = length(&mut reader, '$')?;
                let mut word = vec![0; size + 2];
                reader.read_exact(&mut word).ok()?;
                word.truncate(size);
                String::from_utf8(word).ok()
            })
            .collect();
        let words = words?;
        seen.lock().unwrap().push(words.join(" "));
        let reply = match &words[..] {
            [name, argument] if name == "ECHO" || name == "GET" => bulk(argument),
            _ => "+OK\r\n".into(),
        };
        std::thread::sleep(pause);
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

fn length(reader: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.strip_prefix(kind)?.trim_end().parse().ok()
}

/// A bulk string, as in a reply.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A command, as clients write it.
pub(crate) fn command(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| bulk(word)).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

/// A head, its lines without their ends; `None` at the end of the stream.
fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

fn field<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn http(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let lines = head(&mut reader)?;
        let (request, _) = lines.first()?.rsplit_once(' ')?;
        let length = field(&lines, "content-length").map_or(0, |n| n.parse().unwrap());
        if field(&lines, "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        seen.lock().unwrap().push(request.to_owned());
        let body = if request.starts_with("HEAD ") {
            ""
        } else {
            request
        };
        let size = request.len();
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}");
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

/// A response as a client sees it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    lines: Vec<String>,
    pub(crate) body: String,
}

impl Response {
    /// The next one; to HEAD there is no body.
    pub(crate) fn read(reader: &mut impl BufRead, to_head: bool) -> Self {
        let lines = head(reader).expect("a response, not the end of the stream");
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = Vec::new();
        if !to_head && let Some(length) = field(&lines, "content-length") {
            body.resize(length.parse().unwrap(), 0);
            reader.read_exact(&mut body).unwrap();
        }
        let body = String::from_utf8(body).unwrap();
        Self {
            status,
            lines,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.lines, name)
    }
}
