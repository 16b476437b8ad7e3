//! The processes that a test starts and ends itself.

use super::output::{Output, Outputs};
use super::plan::Test;
use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long the service may take until everything accepts connections.
const READY: Duration = Duration::from_secs(30);
/// How long a process may take to end, and what it said to be read.
const END: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(1);

/// A process that was started here.
#[derive(Debug)]
pub(super) struct Started {
    name: String,
    child: Child,
    output: Output,
    /// That it has ended was told.
    told: bool,
}

impl Started {
    /// Starts it. Its input is empty; what it says goes where `outputs` tells.
    pub(super) fn new(
        name: &str,
        command: &[String],
        env: &BTreeMap<String, String>,
        addresses: &BTreeMap<String, String>,
        outputs: &mut Outputs,
    ) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        // One pipe for both, so that lines stay in their order.
        let (output, writer) = outputs.open(name)?;
        let child = Command::new(program)
            .args(arguments.iter().map(|a| placed(a, addresses)))
            .envs(
                env.iter()
                    .map(|(name, value)| (name, placed(value, addresses))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::from(writer.try_clone()?))
            .stderr(Stdio::from(writer))
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{program} cannot be started: {e}")))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            told: false,
        })
    }

    /// Its number; 0 once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// How it ended by itself, with its last words, the first time that somebody asks.
    pub(super) fn ended(&mut self) -> Option<String> {
        let how = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => words(status),
            Err(error) => error.to_string(),
        };
        if std::mem::replace(&mut self.told, true) {
            return None;
        }
        let last = self.output.last_words();
        Some(format!("{} has ended by itself ({how}); {last}", self.name))
    }

    /// What it said last, unless that was told already.
    pub(super) fn last_words(&self) -> Option<String> {
        (!self.told).then(|| format!("{}: {}", self.name, self.output.last_words()))
    }

    /// Ends it: SIGTERM, and after five seconds SIGKILL.
    pub(super) async fn end(mut self) {
        if let Some(pid) = self.child.id().and_then(|p| i32::try_from(p).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(END, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.output.end(LAST).await;
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The service under test, where it is started here: once the proxies of the first part listen, and ended after the last.
#[derive(Debug, Default)]
pub(crate) struct Companion {
    command: Vec<String>,
    started: Option<Started>,
    outputs: Outputs,
}

impl Companion {
    /// Nothing to start where the command is empty. `outputs`: where all goes that processes say.
    pub(crate) const fn new(command: Vec<String>, outputs: Outputs) -> Self {
        Self {
            command,
            started: None,
            outputs,
        }
    }

    /// Starts it, the first time, and waits until every upstream accepts connections.
    pub(super) async fn begin(
        &mut self,
        test: &Test,
        addresses: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        if self.command.is_empty() {
            return Ok(());
        }
        if self.started.is_none() {
            let env = BTreeMap::new();
            let outputs = &mut self.outputs;
            let started = Started::new("service", &self.command, &env, addresses, outputs)?;
            self.started = Some(started);
        }
        match &mut self.started {
            Some(started) => upstreams_ready(started, test, READY).await,
            None => Ok(()),
        }
    }

    /// Where goes what processes say.
    pub(super) const fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// As of any process.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.started.as_mut().and_then(Started::ended)
    }

    /// As of any process.
    pub(super) fn last_words(&self) -> Option<String> {
        self.started.as_ref().and_then(Started::last_words)
    }

    /// Ends it, if it was started.
    pub(crate) async fn end(&mut self) {
        if let Some(started) = self.started.take() {
            started.end().await;
        }
    }
}

/// Waits until the upstreams of all proxies accept connections. What fails meanwhile is not waited for; what ends well may have
/// put a service into the background.
pub(super) async fn upstreams_ready(
    started: &mut Started,
    test: &Test,
    within: Duration,
) -> io::Result<()> {
    for proxy in &test.proxies {
        let upstream = proxy.upstream.to_string();
        if upstream.starts_with("unix:") {
            continue;
        }
        let until = Instant::now() + within;
        while tokio::net::TcpStream::connect(&upstream).await.is_err() {
            if let Ok(Some(status)) = started.child.try_wait()
                && !status.success()
            {
                // What it said is on its way.
                started.output.end(LAST).await;
                let how = words(status);
                let message = format!("it ended with {how} before {upstream} accepted connections");
                return Err(io::Error::other(message));
            }
            if Instant::now() >= until {
                let within = humantime::format_duration(within);
                let message = format!("{upstream} accepted no connection within {within}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Puts addresses of proxies into a value: `{proxy:NAME}`.
fn placed(value: &str, addresses: &BTreeMap<String, String>) -> String {
    addresses
        .iter()
        .fold(value.to_owned(), |value, (name, address)| {
            value.replace(&format!("{{proxy:{name}}}"), address)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_addresses_into_values() {
        let addresses = BTreeMap::from([("redis".to_owned(), "127.0.0.1:7".to_owned())]);
        assert_eq!(
            placed("redis://{proxy:redis}/0", &addresses),
            "redis://127.0.0.1:7/0"
        );
    }
}
