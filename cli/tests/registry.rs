//! `copatch packs` against a real registry: Debian's `docker-registry`, on loopback, started here. Where it is not installed, these
//! tests say so.
#![cfg(feature = "registry")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::Registry;
use minisign::KeyPair;

/// A registry, and signed packs to push in its folder.
struct Case {
    registry: Registry,
    address: String,
    key: String,
}

impl Case {
    /// A registry that everybody may use; `None` where there is none to start.
    fn new() -> Option<Self> {
        Self::with("")
    }

    /// A registry with more lines in its configuration.
    fn with(more: &str) -> Option<Self> {
        let registry = Registry::start(more)?;
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        for (name, bytes) in copatch_pack_toy::packs() {
            let pack = registry.folder.path().join(name);
            std::fs::write(&pack, bytes).unwrap();
            let signature = minisign::sign(None, &pair.sk, *bytes, None, None).unwrap();
            std::fs::write(pack.with_extension("pack.minisig"), signature.into_string()).unwrap();
        }
        Some(Self {
            address: registry.address.clone(),
            registry,
            key: pair.pk.to_base64(),
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.registry.folder.path().join(name)
    }

    /// `copatch packs`, to be run; `@` stands for the reference without its tag.
    fn command(&self, program: &str, line: &str) -> Command {
        let reference = format!("{}/copatch/toy", self.address);
        let mut command = command(program, self.registry.folder.path());
        let words = line.split_whitespace();
        command.args(words.map(|word| word.replace('@', &reference)));
        command
    }

    /// Runs it. Gives the exit code and what was said.
    fn packs(&self, line: &str) -> (Option<i32>, String) {
        said(
            &self
                .command(COPATCH, &format!("packs {line}"))
                .output()
                .unwrap(),
        )
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
            self.ok(&format!("push --plain-http @:1 {name}"));
        }
    }

    fn pull(&self, to: &str) -> String {
        self.pull_tag(1, to)
    }

    fn pull_tag(&self, tag: u8, to: &str) -> String {
        format!("pull --plain-http @:{tag} --trust {} --to {to}", self.key)
    }

    /// Gets or puts a manifest, past `copatch`: as anybody might who has access to the registry.
    fn manifest(&self, method: &str, name: &str, kind: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (kind, length) = (
            format!("application/vnd.oci.image.{kind}.v1+json"),
            body.len(),
        );
        let head = format!(
            "{method} /v2/copatch/toy/manifests/{name} HTTP/1.0\r\nAccept: {kind}\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 ") || head.contains(" 201 "), "{answer}");
        body.to_owned()
    }
}

const COPATCH: &str = env!("CARGO_BIN_EXE_copatch");

/// A program to be run in a folder, with nothing of ours in its environment.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("COPATCH_REGISTRY_USER")
        .env_remove("COPATCH_REGISTRY_PASSWORD");
    command
}

/// The exit code, and what was said.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
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
    let Some(mut case) = Case::new() else { return };
    case.push();
    let mut names: Vec<String> = copatch_pack_toy::packs()
        .iter()
        .map(|(name, _)| format!("toy/{name}"))
        .collect();
    names.sort();
    let listed = case.ok("list --plain-http @:1");
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
    case.ok(&format!("pull --plain-http @:1 --trust {}", case.key));
    assert_eq!(
        files(&case.at("cache/copatch/packs/toy")).len(),
        2 * names.len()
    );

    // What is kept is of use without the registry.
    case.registry.stop();
    let line = format!(
        "conform --isa toy --cases 20 --trust {} --packs here",
        case.key
    );
    let (code, told) = said(&case.command(COPATCH, &line).output().unwrap());
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_triple_that_is_not_there_is_named() {
    let Some(case) = Case::new() else { return };
    case.push();
    let told = case.error(&(case.pull("here") + " --triple s390x-unknown-linux-gnu"));
    assert!(
        told.contains("no pack for s390x-unknown-linux-gnu among: toy/"),
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
        "pull --plain-http @:1 --to here --trust {}",
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
    let told = case.error("list @:1");
    assert!(told.contains(&case.address), "{told}");
    case.registry.stop();
    for line in ["list --plain-http @:1", &case.pull("here")] {
        let told = case.error(line);
        assert!(
            told.contains(&case.address) && told.contains("onnection refused"),
            "{told}"
        );
    }
    let (name, _) = copatch_pack_toy::packs()[0];
    case.error(&format!("push --plain-http @:1 {name}"));
    assert!(files(&case.at("here")).is_empty());
}

/// No disk is full, but no file may be larger than 512 bytes.
#[test]
fn a_limit_of_size_leaves_nothing_half_written() {
    let Some(case) = Case::new() else { return };
    case.push();
    // The signal that comes with the error would end the program.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let mut command = case.command("sh", "");
    let line = case.command(COPATCH, &format!("packs {}", case.pull("here")));
    command
        .args(["-c", script, "sh", COPATCH])
        .args(line.get_args());
    let (code, told) = said(&command.output().unwrap());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("File too large"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(files(&case.at("here")), Vec::<PathBuf>::new());
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
    let told = case.error(&format!("push --plain-http @:1 {name}"));
    assert!(told.contains("sign the pack first"), "{told}");
}

/// Who may write to the registry, but has no key.
#[test]
fn an_index_that_lies_is_told() {
    let Some(case) = Case::new() else { return };
    case.push();
    let index = case.manifest("GET", "1", "index", "");
    let (plain, v3) = ("linux-gnu.pack", "linux-gnu+x86-64-v3.pack");
    let swapped = index
        .replace(plain, "*")
        .replace(v3, plain)
        .replace('*', v3);
    assert_ne!(swapped, index);
    case.manifest("PUT", "2", "index", &swapped);
    let told = case.error(&case.pull_tag(2, "here"));
    assert!(told.contains("whatever its name says"), "{told}");
    case.manifest("PUT", "3", "index", &index.replace("toy/", "../"));
    assert_eq!(case.ok("list --plain-http @:3"), "");
    let told = case.error(&(case.pull_tag(3, "here") + " --all"));
    assert!(told.contains("no pack for any triple"), "{told}");
    assert!(files(&case.at("here")).is_empty());
}

#[test]
fn what_is_no_index_of_packs_is_neither_read_nor_replaced() {
    let Some(case) = Case::new() else { return };
    case.push();
    let index = case.manifest("GET", "1", "index", "");
    let digest = index.split("sha256:").nth(1).unwrap();
    let digest = format!("sha256:{}", &digest[..64]);
    let image = case.manifest("GET", &digest, "manifest", "");
    case.manifest("PUT", "2", "manifest", &image);
    let (name, _) = copatch_pack_toy::packs()[0];
    for line in [
        &case.pull_tag(2, "here"),
        "list --plain-http @:2",
        &format!("push --plain-http @:2 {name}"),
    ] {
        let told = case.error(line);
        assert!(told.contains(":2: not an index of packs"), "{told}");
    }
    assert_eq!(case.manifest("GET", "2", "manifest", ""), image);
    let told = case.error("list --plain-http @:3");
    assert!(told.contains(":3: there is nothing of that name"), "{told}");
    let (code, told) = case.packs(&format!("push --plain-http @@{digest} {name}"));
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn a_signature_without_end_is_not_read_to_its_end() {
    let Some(case) = Case::new() else { return };
    let (name, _) = copatch_pack_toy::packs()[0];
    std::fs::write(case.at(&format!("{name}.minisig")), "x".repeat(5000)).unwrap();
    case.push();
    let told = case.error(&(case.pull("here") + " --all"));
    assert!(told.contains("more than 4096 bytes"), "{told}");
}

#[test]
fn a_password_gives_access() {
    let more = "auth:\n  htpasswd:\n    realm: copatch\n    path: users\n";
    let Some(case) = Case::with(more) else { return };
    let (name, _) = copatch_pack_toy::packs()[0];
    let line = format!("push --plain-http @:1 {name}");
    let told = case.error(&line);
    assert!(told.to_lowercase().contains("auth"), "{told}");
    let with = |password: &str, line: &str| {
        let mut command = case.command(COPATCH, &format!("packs {line}"));
        command.env("COPATCH_REGISTRY_USER", "copatch");
        command.env("COPATCH_REGISTRY_PASSWORD", password);
        command.output().unwrap().status.code()
    };
    assert_eq!(with("wrong", &line), Some(1));
    assert_eq!(with("secret", &line), Some(0));
    assert_eq!(with("secret", &(case.pull("here") + " --all")), Some(0));
    assert_eq!(files(&case.at("here")).len(), 2);
}

/// The way to a registry that breaks off: gives back so many bytes of each connection, and then closes it or says no more.
fn breaking(registry: &str, after: u64, is_silent: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, registry) = (client.unwrap(), TcpStream::connect(&registry).unwrap());
            std::thread::spawn(move || pass_on(client, registry, after, is_silent));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, mut registry: TcpStream, after: u64, is_silent: bool) {
    let (mut asked, mut to) = (client.try_clone().unwrap(), registry.try_clone().unwrap());
    let asking = std::thread::spawn(move || std::io::copy(&mut asked, &mut to));
    let given = std::io::copy(&mut Read::by_ref(&mut registry).take(after), &mut client);
    if is_silent && given.is_ok_and(|given| given == after) {
        // Until the other side has enough of it.
        let _ = asking.join();
    }
    for stream in [client, registry] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_download_that_breaks_off_leaves_nothing_half_written() {
    let Some(mut case) = Case::new() else { return };
    case.push();
    let address = case.address.clone();
    // In the index, and in the middle of a pack.
    for after in [400, 200_000] {
        for (is_silent, says) in [(false, "before message"), (true, "timed out")] {
            case.address = breaking(&address, after, is_silent);
            let told = case.error(&(case.pull("here") + " --timeout 2"));
            assert!(
                told.contains(&case.address) && told.contains(says),
                "{told}"
            );
            assert_eq!(files(&case.at("here")), Vec::<PathBuf>::new());
        }
    }
    // What was kept before stays.
    case.address = address.clone();
    case.ok(&case.pull("here"));
    let whole = files(&case.at("here"));
    case.address = breaking(&address, 400, false);
    case.error(&case.pull("here"));
    assert_eq!(files(&case.at("here")), whole);
}

#[test]
fn a_registry_that_says_nothing_is_given_up_on() {
    // Connections are made, and nobody takes them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("{}/copatch/toy:1", listener.local_addr().unwrap());
    let begin = Instant::now();
    let output = command(COPATCH, folder.path())
        .args([
            "packs",
            "list",
            "--plain-http",
            "--timeout",
            "1",
            &reference,
        ])
        .output();
    let (code, told) = said(&output.unwrap());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("timed out"), "{told}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_token_that_is_none_is_the_registrys_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut asked = [0; 4096];
            let read = client.read(&mut asked).unwrap();
            let answer = match asked[..read].starts_with(b"GET /token") {
                true => "200 OK\r\ncontent-length: 16\r\n\r\n{\"token\":\"a\\nb\"}".to_owned(),
                false => format!(
                    "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{address}/token\",service=\"here\"\r\n\
                     content-length: 0\r\n\r\n"
                ),
            };
            let _ = client.write_all(
                format!(
                    "HTTP/1.1 {}",
                    answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)
                )
                .as_bytes(),
            );
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("{address}/copatch/toy:1");
    let list = ["packs", "list", "--plain-http", &reference];
    let (code, told) = said(&command(COPATCH, folder.path()).args(list).output().unwrap());
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains(&reference) && told.contains("malformed"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}
