//! `copatch packs` against a real registry: Debian's `docker-registry`, on loopback, started here. Where it is not installed, these
//! tests say so.
#![cfg(feature = "registry")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use minisign::KeyPair;
use tempfile::TempDir;

/// A registry with its storage, and signed packs to push.
struct Case {
    registry: Child,
    address: String,
    folder: TempDir,
    key: String,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Case {
    /// `None` where there is no registry to start.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Free a moment ago; nothing else here asks for ports.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let storage = at("storage");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            storage.display()
        );
        std::fs::write(at("config.yml"), config).unwrap();
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let registry = match registry {
            Ok(registry) => registry,
            Err(error) => {
                println!("passed over: docker-registry: {error}");
                return None;
            }
        };
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        for (name, bytes) in copatch_pack_toy::packs() {
            let pack = at(name);
            std::fs::write(&pack, bytes).unwrap();
            let signature = minisign::sign(None, &pair.sk, *bytes, None, None).unwrap();
            std::fs::write(pack.with_extension("pack.minisig"), signature.into_string()).unwrap();
        }
        let case = Self {
            registry,
            address,
            key: pair.pk.to_base64(),
            folder,
        };
        let begin = Instant::now();
        while TcpStream::connect(&case.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "no registry");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(case)
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `copatch packs`; `@` stands for the reference. Gives the exit code and what was said.
    fn packs(&self, line: &str) -> (Option<i32>, String) {
        let reference = format!("{}/copatch/toy:1", self.address);
        let output = Command::new(env!("CARGO_BIN_EXE_copatch"))
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.at("cache"))
            .env_remove("COPATCH_REGISTRY_USER")
            .arg("packs")
            .args(line.replace('@', &reference).split_whitespace())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn ok(&self, line: &str) -> String {
        let (code, told) = self.packs(line);
        assert_eq!(code, Some(0), "{line}: {told}");
        told
    }

    /// Runs and expects one line of an error.
    fn error(&self, line: &str) -> String {
        let (code, told) = self.packs(line);
        assert_eq!(code, Some(1), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    }

    fn push(&self) {
        for (name, _) in copatch_pack_toy::packs() {
            self.ok(&format!("push --plain-http @ {name}"));
        }
    }

    fn pull(&self, to: &str) -> String {
        format!("pull --plain-http @ --trust {} --to {to}", self.key)
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn what_is_pushed_is_listed_pulled_kept_and_used() {
    let Some(case) = Case::new() else { return };
    case.push();
    let mut names: Vec<String> = copatch_pack_toy::packs()
        .iter()
        .map(|(name, _)| format!("toy/{name}"))
        .collect();
    names.sort();
    let listed = case.ok("list --plain-http @");
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);

    let told = case.ok(&case.pull("here"));
    assert_eq!(told.matches(": pulled to ").count(), names.len(), "{told}");
    for (name, bytes) in copatch_pack_toy::packs() {
        assert!(std::fs::read(case.at("here/toy").join(name)).unwrap() == *bytes);
    }
    assert_eq!(files(&case.at("here")).len(), 2 * names.len());
    let told = case.ok(&case.pull("here"));
    assert_eq!(told.matches(": already in ").count(), names.len(), "{told}");
    // Without a folder of its own: where caches are.
    case.ok(&format!("pull --plain-http @ --trust {}", case.key));
    assert_eq!(
        files(&case.at("cache/copatch/packs/toy")).len(),
        2 * names.len()
    );

    let output = Command::new(env!("CARGO_BIN_EXE_copatch"))
        .args([
            "conform", "--isa", "toy", "--cases", "20", "--trust", &case.key,
        ])
        .arg("--packs")
        .arg(case.at("here"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_triple_that_is_not_there_is_named() {
    let Some(case) = Case::new() else { return };
    case.push();
    let told = case.error(&(case.pull("here") + " --triple s390x-unknown-linux-gnu"));
    assert!(
        told.contains("no pack for s390x-unknown-linux-gnu among toy/"),
        "{told}"
    );
    assert!(files(&case.at("here")).is_empty());
}

#[test]
fn what_others_signed_is_not_kept() {
    let Some(case) = Case::new() else { return };
    case.push();
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap().pk;
    let line = format!(
        "pull --plain-http @ --to here --trust {}",
        stranger.to_base64()
    );
    let told = case.error(&line);
    assert!(
        told.contains("not trusted: it is signed with a key"),
        "{told}"
    );
    assert!(files(&case.at("here")).is_empty());
}

#[test]
fn a_changed_blob_is_told_by_its_digest() {
    let Some(case) = Case::new() else { return };
    case.push();
    let mut changed = 0;
    for path in files(&case.at("storage/docker/registry/v2/blobs")) {
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"copatch\0") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, copatch_pack_toy::packs().len());
    let told = case.error(&case.pull("here"));
    assert!(told.to_lowercase().contains("digest"), "{told}");
    assert!(files(&case.at("here")).is_empty());
}

#[test]
fn a_registry_that_does_not_answer_is_told() {
    let Some(mut case) = Case::new() else { return };
    case.push();
    // It speaks no TLS.
    let told = case.error("list @");
    assert!(told.contains(&case.address), "{told}");
    case.stop();
    for line in ["list --plain-http @", &case.pull("here")] {
        let told = case.error(line);
        assert!(
            told.contains(&case.address) && told.contains("onnection refused"),
            "{told}"
        );
    }
    let (name, _) = copatch_pack_toy::packs()[0];
    case.error(&format!("push --plain-http @ {name}"));
    assert!(files(&case.at("here")).is_empty());
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let Some(case) = Case::new() else { return };
    case.push();
    let disk = case.at("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("passed over: a small disk can be mounted by root alone");
        return;
    }
    let (code, told) = case.packs(&case.pull("disk"));
    let left = files(&disk);
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    assert!(left.is_empty(), "{left:?}");
    assert!(unmounted.success());
}

#[test]
fn what_is_not_signed_is_not_pushed() {
    let Some(case) = Case::new() else { return };
    let (name, _) = copatch_pack_toy::packs()[0];
    std::fs::remove_file(case.at(&format!("{name}.minisig"))).unwrap();
    let told = case.error(&format!("push --plain-http @ {name}"));
    assert!(told.contains("sign the pack first"), "{told}");
}
