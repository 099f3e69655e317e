//! `copatch packs`: stencil packs in an OCI registry, verified by signature, cached in a folder.
//!
//! ```text
//! REFERENCE ──► index ──► one manifest a triple ──► layer 0: the pack, layer 1: its signature
//! ```
//!
//! An entry of the index is named by its annotation [`NAME`]: the file the pack is kept in, `<isa>/<triple>[+features].pack`.
//! What comes from a registry is nobody's word: a file gets its place in the folder after its digest was checked, its signature, that
//! its key is trusted, and that it is a pack of that name; until then it has a temporary name or none. Entries without a name that
//! leads to one file below the folder are passed over.

mod client;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use copatch::spec::isa::is_file_name;
use copatch::spec::pack::{PackError, signature_file, validate};
use copatch::{TrustedKeys, host_triple, is_for};

use crate::packs::keys;
use crate::{FAILED, Failure, MISUSED, print};
use client::{Entry, Registry, Signed};

/// The annotation that names an artefact.
pub(super) const NAME: &str = "org.copatch.pack.name";

#[derive(Args)]
pub(crate) struct Packs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Downloads packs, those for this machine unless told otherwise, and checks their signatures.
    Pull {
        #[command(flatten)]
        remote: Remote,
        /// Trust packs signed with this key: minisign's public key file, or the key itself. May be given several times.
        #[arg(long, value_name = "KEY", required = true)]
        trust: Vec<String>,
        /// Packs for this triple, with all feature sets, instead of this machine's.
        #[arg(long, value_name = "TRIPLE", conflicts_with = "all")]
        triple: Option<String>,
        /// Packs for every triple.
        #[arg(long)]
        all: bool,
        /// The folder that packs are kept in, as --packs of other commands takes it; else copatch/packs in the user's cache.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Uploads signed packs, each with its PACK.minisig; other triples that are there stay.
    Push {
        #[command(flatten)]
        remote: Remote,
        /// The pack files.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
    },
    /// Lists the packs of a reference.
    List {
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
struct Remote {
    /// Where packs are: REGISTRY/REPOSITORY:TAG. COPATCH_REGISTRY_USER and COPATCH_REGISTRY_PASSWORD give access.
    reference: String,
    /// Speak HTTP without TLS, as registries on this machine do. Signatures are checked all the same.
    #[arg(long)]
    plain_http: bool,
    /// Give up when the registry says nothing for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

impl Remote {
    fn open(&self) -> Result<Registry, Failure> {
        let patience = Duration::from_secs(self.timeout);
        Registry::open(&self.reference, self.plain_http, patience)
    }
}

impl Packs {
    pub(crate) fn run(self) -> Result<i32, Failure> {
        match self.command {
            Command::Pull {
                remote,
                trust,
                triple,
                all,
                to,
            } => {
                let keys = keys(&trust)?;
                let folder = to.or_else(cache).ok_or_else(|| Failure {
                    code: MISUSED,
                    line: "there is no cache folder here: give --to".to_owned(),
                })?;
                let triple = (!all).then(|| triple.unwrap_or_else(host_triple));
                pull(&remote.open()?, &keys, triple.as_deref(), &folder)
            }
            Command::Push { remote, packs } => push(&remote.open()?, &packs),
            Command::List { remote } => {
                for entry in remote.open()?.index()?.entries() {
                    print(&format!("{}\n", entry.name))?;
                }
                Ok(0)
            }
        }
    }
}

/// Where packs are kept for this user.
fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")));
    cache.map(|cache| cache.join("copatch/packs"))
}

fn failed(line: String) -> Failure {
    Failure { code: FAILED, line }
}

fn pull(
    registry: &Registry,
    keys: &TrustedKeys,
    triple: Option<&str>,
    folder: &Path,
) -> Result<i32, Failure> {
    let entries = registry.index()?.entries();
    let fits = |entry: &&Entry| triple.is_none_or(|triple| is_for(file_of(&entry.name), triple));
    let fitting: Vec<&Entry> = entries.iter().filter(fits).collect();
    if fitting.is_empty() {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let (from, names) = (registry.name(), names.join(", "));
        let wanted = triple.unwrap_or("any triple");
        return Err(failed(format!(
            "{from}: no pack for {wanted} among: {names}"
        )));
    }
    for entry in fitting {
        let name = &entry.name;
        let path = folder.join(name);
        let signed = registry.fetch(entry, &path)?;
        check(&format!("{} {name}", registry.name()), name, &signed, keys)?;
        let verb = if signed.is_cached {
            "already in"
        } else {
            keep(&path, &signed).map_err(|error| Failure::of(&path, error))?;
            "pulled to"
        };
        print(&format!("{name}: {verb} {}\n", path.display()))?;
    }
    Ok(0)
}

/// The file in the name of a pack.
fn file_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, file)| file)
}

/// Whether a name leads to one file below a folder, of an instruction set's.
fn is_safe(name: &str) -> bool {
    let parts = name.split_once('/');
    parts.is_some_and(|(isa, file)| {
        is_file_name(isa) && is_file_name(file) && file.ends_with(".pack")
    })
}

/// Checks that a pack is signed by whom we trust, in order, and what its name says. `from` stands for it in errors.
fn check(from: &str, name: &str, signed: &Signed, keys: &TrustedKeys) -> Result<(), Failure> {
    keys.check(from, &signed.pack, &signed.signature)
        .map_err(|error| failed(error.to_string()))?;
    let own = name_of(&signed.pack).map_err(|what| failed(format!("{from}: {what}")))?;
    match own == name {
        true => Ok(()),
        false => Err(failed(format!(
            "{from}: the pack is {own}, whatever its name says"
        ))),
    }
}

/// The name of a valid pack, from what it says of itself.
fn name_of(bytes: &[u8]) -> Result<String, PackError> {
    let (_, metadata) = validate(bytes)?;
    Ok(format!("{}/{}.pack", metadata.isa, metadata.target()))
}

/// Writes pack and signature beside their places first. They are moved there when both are whole: the signature, which alone is
/// nothing, before the pack.
fn keep(path: &Path, signed: &Signed) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let write = |bytes: &[u8]| {
        let mut file = tempfile::Builder::new()
            .prefix(".pull-")
            .permissions(PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok::<_, std::io::Error>(file)
    };
    let pack = write(&signed.pack)?;
    let signature = write(signed.signature.as_bytes())?;
    let beside = signature_file(path);
    signature.persist(beside).map_err(|failure| failure.error)?;
    pack.persist(path).map_err(|failure| failure.error)?;
    Ok(())
}

fn push(registry: &Registry, packs: &[PathBuf]) -> Result<i32, Failure> {
    let mut artefacts = Vec::new();
    for path in packs {
        let pack = std::fs::read(path).map_err(|error| Failure::of(path, error))?;
        let name = name_of(&pack).map_err(|what| Failure::of(path, what))?;
        if !is_safe(&name) {
            let what = format!("{name} cannot be the name of a pack in a registry");
            return Err(Failure::of(path, what));
        }
        let beside = signature_file(path);
        let signature = std::fs::read_to_string(&beside)
            .map_err(|error| Failure::of(&beside, format!("{error}; sign the pack first")))?;
        let signed = Signed {
            pack,
            signature,
            is_cached: false,
        };
        artefacts.push((name, signed));
    }
    let names: Vec<String> = artefacts.iter().map(|(name, _)| name.clone()).collect();
    registry.push(artefacts)?;
    for name in names {
        print(&format!("{name}: pushed\n"))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn names_lead_to_one_file_below_the_folder() {
        assert!(is_safe("my-isa/x86_64-unknown-linux-gnu+x86-64-v3.pack"));
        for name in [
            "a.pack",
            "/a.pack",
            "a/",
            "a/b",
            "a/.pack",
            "../a.pack",
            "a/../b.pack",
            "a/b/c.pack",
            "a\\b/c.pack",
            "a/b\n.pack",
            "a/b\u{1b}[2J.pack",
        ] {
            assert!(!is_safe(name), "{name:?}");
        }
    }
}
