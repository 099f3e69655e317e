//! `copatch packs`: stencil packs in an OCI registry, verified by signature, cached in a folder.
//!
//! ```text
//! REFERENCE ──► index ──► one manifest a triple ──► layer 0: the pack, layer 1: its signature
//! ```
//!
//! An entry of the index is named by its annotation [`NAME`]: the file the pack is kept in, `<isa>/<triple>[+features].pack`.
//! What comes from a registry is nobody's word: a file gets its place in the folder after its digest was checked, its signature, that
//! its key is trusted, and that it is a pack of that name; until then it has a temporary name or none.

mod client;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use copatch::spec::pack::validate;
use copatch::{SIGNATURE_SUFFIX, TrustedKeys, host_triple};

use crate::packs::keys;
use crate::{FAILED, Failure, MISUSED, print};
use client::{Registry, Signed};

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
}

impl Remote {
    fn open(&self) -> Result<Registry, Failure> {
        Registry::open(&self.reference, self.plain_http)
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
    let index = registry.index()?;
    let mut fitting = index.entries();
    fitting.retain(|entry| triple.is_none_or(|triple| triple_of(&entry.name) == Some(triple)));
    if fitting.is_empty() {
        let names = index.entries().into_iter().map(|entry| entry.name);
        let names = names.collect::<Vec<_>>().join(", ");
        let wanted = triple.unwrap_or("any triple");
        return Err(failed(format!(
            "{}: no pack for {wanted} among {names}",
            registry.name()
        )));
    }
    for entry in fitting {
        let name = safe(&entry.name).ok_or_else(|| {
            failed(format!(
                "{}: {:?} names no pack",
                registry.name(),
                entry.name
            ))
        })?;
        let path = folder.join(name);
        let signed = registry.fetch(&entry, &path)?;
        check(registry, name, &signed, keys)?;
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

/// The triple in the name of a pack's file.
fn triple_of(name: &str) -> Option<&str> {
    let (_, file) = name.split_once('/')?;
    let stem = file.strip_suffix(".pack")?;
    Some(stem.split_once('+').map_or(stem, |(triple, _)| triple))
}

/// A name that leads to one file below a folder: two parts of letters, digits and a few signs.
fn safe(name: &str) -> Option<&str> {
    let plain = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        part.chars().all(fits) && part.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (isa, file) = name.split_once('/')?;
    (plain(isa) && plain(file) && file.ends_with(".pack")).then_some(name)
}

/// Whether a pack is signed by whom we trust, in order, and what its name says.
fn check(
    registry: &Registry,
    name: &str,
    signed: &Signed,
    keys: &TrustedKeys,
) -> Result<(), Failure> {
    let from = format!("{} {name}", registry.name());
    keys.check(&from, &signed.pack, &signed.signature)
        .map_err(|error| failed(error.to_string()))?;
    let own = name_of(&signed.pack).map_err(|what| failed(format!("{from}: {what}")))?;
    if own != name {
        return Err(failed(format!(
            "{from}: the pack is {own}, whatever its name says"
        )));
    }
    Ok(())
}

/// The name of a valid pack, from what it says of itself.
fn name_of(bytes: &[u8]) -> Result<String, String> {
    let (_, metadata) = validate(bytes).map_err(|error| error.to_string())?;
    let features = match metadata.features.as_str() {
        "" => String::new(),
        features => format!("+{features}"),
    };
    Ok(format!(
        "{}/{}{features}.pack",
        metadata.isa, metadata.triple
    ))
}

/// Writes pack and signature beside their places first. They are moved there when both are whole: the signature, which alone is
/// nothing, before the pack.
fn keep(path: &Path, signed: &Signed) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let write = |bytes: &[u8]| {
        let mut file = tempfile::Builder::new()
            .prefix(".pull-")
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok::<_, std::io::Error>(file)
    };
    let pack = write(&signed.pack)?;
    let signature = write(signed.signature.as_bytes())?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(SIGNATURE_SUFFIX);
    signature.persist(beside).map_err(|failure| failure.error)?;
    pack.persist(path).map_err(|failure| failure.error)?;
    Ok(())
}

fn push(registry: &Registry, packs: &[PathBuf]) -> Result<i32, Failure> {
    let mut artefacts = Vec::new();
    for path in packs {
        let pack = std::fs::read(path).map_err(|error| Failure::of(path, error))?;
        let name = name_of(&pack).map_err(|what| Failure::of(path, what))?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(SIGNATURE_SUFFIX);
        let beside = PathBuf::from(beside);
        let signature = std::fs::read_to_string(&beside)
            .map_err(|error| Failure::of(&beside, format!("{error}; sign the pack first")))?;
        let signed = Signed {
            pack,
            signature,
            is_cached: false,
        };
        artefacts.push((name, signed));
    }
    for name in registry.push(artefacts)? {
        print(&format!("{name}: pushed\n"))?;
    }
    Ok(0)
}
