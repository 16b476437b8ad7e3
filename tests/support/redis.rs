//! A private redis-server.

use super::{Directory, Process, free_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const REMEDY: &str = "install Redis (Debian: apt-get install redis-server; macOS: brew install redis), \
    or run tests/run, which does";
const START_LIMIT: Duration = Duration::from_secs(20);

/// A redis-server on a free port of 127.0.0.1, without persistence.
pub(crate) struct Redis {
    process: Process,
    port: u16,
    password: Option<String>,
    _directory: Directory,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::launch(None)
    }

    /// One that refuses every command before `AUTH password`.
    pub(crate) fn start_with_password(password: &str) -> Self {
        Self::launch(Some(password))
    }

    fn launch(password: Option<&str>) -> Self {
        let directory = Directory::new("redis");
        let port = free_port();
        let mut command = Command::new("redis-server");
        command
            .current_dir(directory.path())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--enable-debug-command", "yes"]);
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let process = Process::start(&mut command, REMEDY);
        let mut redis = Self {
            process,
            port,
            password: password.map(ToOwned::to_owned),
            _directory: directory,
        };
        redis.wait_until_ready();
        redis
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Runs one command on a connection of its own, straight to the server; gives the first line of the reply, and the payload
    /// after it where it is a bulk string.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        run(self.address(), self.password.as_deref(), words)
            .unwrap_or_else(|e| panic!("redis at {}: {e}", self.address()))
    }

    /// Ready means: the server that answers on the port is the one we started.
    fn wait_until_ready(&mut self) {
        let (address, password) = (self.address(), self.password.clone());
        let expected = format!("process_id:{}\r", self.process.id());
        self.process.until(START_LIMIT, |_| {
            let info = run(address, password.as_deref(), &["INFO", "server"]).ok()?;
            if !info.starts_with('$') {
                return None; // still loading
            }
            assert!(
                info.contains(&expected),
                "port {} was taken by another Redis between choosing and using it; run the test again",
                address.port()
            );
            Some(())
        });
    }
}

fn run(address: SocketAddr, password: Option<&str>, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Some(password) = password {
        stream.write_all(&encode(&["AUTH", password]))?;
        reader.read_line(&mut String::new())?;
    }
    stream.write_all(&encode(words))?;
    let mut reply = String::new();
    reader.read_line(&mut reply)?;
    if let Some(length) = reply
        .strip_prefix('$')
        .and_then(|n| n.trim().parse::<usize>().ok())
    {
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload)?;
        reply.push_str(&String::from_utf8_lossy(&payload));
    }
    Ok(reply)
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
