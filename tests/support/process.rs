//! Child processes that cannot outlive their test.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A child in a process group of its own, with what it wrote to stdout and stderr. The group is killed on drop.
pub(crate) struct Process {
    child: Child,
    what: String,
    stdout: Output,
    stderr: Output,
}

/// What a child wrote so far, filled by a thread, so that a full pipe never stops the child.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Output {
    fn follow(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = source.read(&mut piece) {
                let mut all = sink.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&piece[..n]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let all = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&all).into_owned()
    }
}

impl Process {
    /// Starts `command`. `remedy` is what the panic advises where there is no such program.
    pub(crate) fn start(command: &mut Command, remedy: &str) -> Self {
        let what = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {what}: {e}; {remedy}"));
        let stdout = Output::follow(child.stdout.take().expect("stdout is piped above"));
        let stderr = Output::follow(child.stderr.take().expect("stderr is piped above"));
        Self {
            child,
            what,
            stdout,
            stderr,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal)
            .unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.what));
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .unwrap_or_else(|e| panic!("cannot wait for {}: {e}", self.what))
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.what);
        eventually(&what, limit, || self.ended())
    }

    /// Waits until both output pipes are closed, for the complete text.
    pub(crate) fn drain(&self, limit: Duration) {
        let what = format!("{} to close its output", self.what);
        eventually(&what, limit, || {
            (self.stdout.reader.is_finished() && self.stderr.reader.is_finished()).then_some(())
        });
    }

    /// Polls `ready` on what stderr holds until it gives something; panics with the child's own words if the child ends
    /// first or time is up.
    pub(crate) fn until<T>(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(it) = ready(&self.stderr()) {
                return it;
            }
            let ended = self.ended();
            if ended.is_some() || Instant::now() > deadline {
                let why = ended.map_or_else(
                    || format!("was not ready after {limit:?}"),
                    |status| format!("ended with {status}"),
                );
                let (out, err) = (self.stdout(), self.stderr());
                panic!("{} {why}\nstdout: {out}\nstderr: {err}", self.what);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already; then there is nothing to end.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Polls until `probe` gives something, at most `limit` long.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(it) = probe() {
            return it;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Below those that kernels give to outgoing connections, one of which could have taken the port by the time it is listened on.
const PORTS: Range<u64> = 12_000..32_000;

/// A loopback port that is free and was not given before, for servers that cannot take port 0.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    // Test programs that run side by side begin at different places.
    let place = u64::from(std::process::id()) * 7919;
    loop {
        let next = place + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + next % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
