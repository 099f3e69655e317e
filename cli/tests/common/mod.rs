//! A registry for tests: Debian's `docker-registry`, on loopback.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A registry with its storage; ends with this.
pub struct Registry {
    process: Child,
    /// Host and port.
    pub address: String,
    /// A folder of its own; its storage is there.
    pub folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// User `copatch` with password `secret`, as the registry wants it; of no use elsewhere.
const USER: &str = "copatch:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Registry {
    /// A registry with more lines in its configuration; `None`, said so, where there is none to start.
    pub fn start(more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Free a moment ago; nothing else here asks for ports.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let storage = at("storage");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
            storage.display()
        );
        std::fs::write(at("users"), USER).unwrap();
        std::fs::write(at("config.yml"), config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                println!("passed over: docker-registry: {error}");
                return None;
            }
        };
        let mut registry = Self {
            process,
            address,
            folder,
        };
        let begin = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "no registry");
            assert!(registry.process.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(registry)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
