//! Clients and upstreams on plain blocking sockets. Every read and write has a deadline.

use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No single step takes longer, on however loaded a machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Rst,
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT)
        .unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
    prepared(stream)
}

/// The next connection.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let stream = crate::support::eventually("a connection", LIMIT, || listener.accept().ok());
    stream.0.set_nonblocking(false).unwrap();
    prepared(stream.0)
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Closes with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// Everything up to the end of the stream, and how it ended.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (all, End::Fin),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return (all, End::Rst),
            Err(e) => panic!("after {} bytes: {e}", all.len()),
        }
    }
}

/// Exactly so many bytes.
pub(crate) fn read_exactly(mut stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream
        .read_exact(&mut bytes)
        .unwrap_or_else(|e| panic!("wanted {length} bytes: {e}"));
    bytes
}

/// Reads these bytes and nothing else.
#[track_caller]
pub(crate) fn expect(stream: &TcpStream, bytes: &[u8]) {
    let got = read_exactly(stream, bytes.len());
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(bytes)
    );
}

/// Nothing arrives for so long.
#[track_caller]
pub(crate) fn expect_silence(mut stream: &TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).unwrap();
    let read = stream.read(&mut [0; 64]);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    match read {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        other => panic!("expected silence, got {other:?}"),
    }
}

/// Writes until every buffer on the way is full, and returns how much went.
pub(crate) fn fill(mut stream: &TcpStream) -> usize {
    let piece = vec![b'x'; 64 * 1024];
    stream.set_nonblocking(true).unwrap();
    let mut total = 0;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(250) {
        match stream.write(&piece) {
            Ok(n) => {
                total += n;
                last = Instant::now();
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => panic!("after {total} bytes: {e}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    total
}

/// Serves every connection with `serve`, on a thread each, until dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(TcpStream) + Clone + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        let serve = serve.clone();
                        std::thread::spawn(move || serve(prepared(stream)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Sends everything back, and the end of the stream too.
    pub(crate) fn echo() -> Self {
        Self::start(echo)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn echo(mut stream: TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        if stream.write_all(&piece[..n]).is_err() {
            return;
        }
    }
}

/// One byte there and back.
pub(crate) fn ping(mut stream: &TcpStream) -> std::io::Result<Duration> {
    let started = Instant::now();
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0])?;
    Ok(started.elapsed())
}

/// Bytes that never repeat within a piece that could be lost, doubled or moved: the period is a prime.
pub(crate) fn pattern(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length)
        .map(|i| {
            let place = (i % 1_000_003) as u32;
            (place.wrapping_mul(2_654_435_761) >> 23) as u8
        })
        .collect()
}
