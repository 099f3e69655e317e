//! Which pack fits this machine: by target triple and by what the processor can do.

use std::cmp::Reverse;
use std::str::FromStr;
use std::sync::Arc;

use target_lexicon::{Environment, OperatingSystem, Triple};

use crate::error::{Error, Result};
use crate::pack::Pack;
use crate::trust::PackFolder;

/// What of a triple decides whether code runs: vendors and versions do not, and equal machines have unequal triples.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    architecture: String,
    system: String,
    environment: String,
}

impl Key {
    fn of(triple: &Triple) -> Self {
        let system = match triple.operating_system {
            OperatingSystem::Darwin(_) | OperatingSystem::MacOSX(_) => "darwin".to_owned(),
            other => other.to_string(),
        };
        let environment = match triple.environment {
            // Stencils call no C library.
            Environment::Unknown | Environment::Musl if system == "linux" => "gnu".to_owned(),
            Environment::Unknown | Environment::Gnu if system == "windows" => "msvc".to_owned(),
            other => other.to_string(),
        };
        Self {
            architecture: triple.architecture.to_string(),
            system,
            environment,
        }
    }

    /// The key of a pack file's name, `<triple>[+features].pack`, and its features.
    fn of_file(name: &str) -> Option<(Self, &str)> {
        let stem = name.strip_suffix(".pack")?;
        let (triple, features) = stem.split_once('+').unwrap_or((stem, ""));
        Some((Self::of(&Triple::from_str(triple).ok()?), features))
    }
}

/// Whether this processor has a feature; of what is not known of, it has none.
#[cfg(target_arch = "x86_64")]
fn processor_has(feature: &str) -> bool {
    match feature {
        "avx2" => is_x86_feature_detected!("avx2"),
        "bmi1" => is_x86_feature_detected!("bmi1"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "f16c" => is_x86_feature_detected!("f16c"),
        "fma" => is_x86_feature_detected!("fma"),
        "lzcnt" => is_x86_feature_detected!("lzcnt"),
        "movbe" => is_x86_feature_detected!("movbe"),
        "popcnt" => is_x86_feature_detected!("popcnt"),
        "sse4.2" => is_x86_feature_detected!("sse4.2"),
        _ => false,
    }
}

/// Whether this processor has a feature: none is known of here, so only the baseline runs.
#[cfg(not(target_arch = "x86_64"))]
fn processor_has(_: &str) -> bool {
    false
}

/// Those of the named features that this processor lacks.
pub(crate) fn lacking(features: &[String]) -> Vec<&str> {
    let names = features.iter().map(String::as_str);
    names.filter(|feature| !processor_has(feature)).collect()
}

/// Whether a pack file of that name, `<triple>[+features].pack`, is for a triple; vendors and versions make no difference.
pub fn is_for(file: &str, triple: &str) -> bool {
    let key = Triple::from_str(triple).map(|triple| Key::of(&triple));
    Key::of_file(file).is_some_and(|(found, _)| Ok(found) == key)
}

/// The host's triple.
pub fn host_triple() -> String {
    Triple::host().to_string()
}

/// The names of the packs for a machine, best first: those with a feature set come before the baseline, and of two sets the one whose
/// name is longer or, of the same length, greater (`x86-64-v4`, `x86-64-v3`).
fn ranked(names: impl Iterator<Item = String>, host: &Key) -> Vec<String> {
    let fitting = |name: String| {
        let (key, features) = Key::of_file(&name)?;
        let rank = (features.len(), features.to_owned());
        (key == *host).then_some((Reverse(rank), name))
    };
    let mut ranked: Vec<_> = names.filter_map(fitting).collect();
    ranked.sort();
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// Opens the best of several packs of which the processor has all features.
fn best(
    candidates: impl Iterator<Item = String> + Clone,
    mut open: impl FnMut(&str) -> Result<Arc<Pack>>,
) -> Result<Arc<Pack>> {
    let host = Key::of(&Triple::host());
    let names = ranked(candidates.clone(), &host);
    let mut needs = String::new();
    for name in &names {
        let pack = open(name)?;
        let metadata = pack.metadata();
        if Triple::from_str(&metadata.triple).map(|triple| Key::of(&triple)) != Ok(host.clone()) {
            let what = format!(
                "the pack is for {}, whatever its name says",
                metadata.triple
            );
            return Err(Error::Foreign {
                name: name.clone(),
                what,
            });
        }
        let lacking = lacking(&metadata.cpu).join(", ");
        if lacking.is_empty() {
            return Ok(pack);
        }
        needs += &format!("; {name} needs {lacking}, which this processor lacks");
    }
    let candidates = candidates.collect::<Vec<_>>().join(", ") + &needs;
    let candidates = if candidates.is_empty() {
        "no packs at all".to_owned()
    } else {
        candidates
    };
    Err(Error::NoPack {
        triple: host_triple(),
        candidates,
    })
}

impl Pack {
    /// Opens the one of several embedded packs (file name and bytes) that fits this machine best.
    ///
    /// # Errors
    /// [`Error::NoPack`], or what is wrong with the pack that fits.
    pub fn for_host(candidates: &[(&'static str, &'static [u8])]) -> Result<Arc<Self>> {
        best(
            candidates.iter().map(|(name, _)| (*name).to_owned()),
            |name| {
                let found = candidates.iter().find(|(other, _)| *other == name);
                Self::embedded(found.map_or(&[][..], |(_, bytes)| bytes))
            },
        )
    }

    /// Opens the pack of instruction set `isa` in a folder that fits this machine best, if it is trusted, after checking it in
    /// full. `digest` is the instruction set's, as [`InstructionSet::builtin_digest`](copatch_spec::InstructionSet::builtin_digest)
    /// gives it for those that come with copatch: what a pack's operations mean may differ from version to version.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoPack`], [`Error::Untrusted`], [`Error::Foreign`] or [`Error::Pack`].
    pub fn for_host_in(packs: &PackFolder, isa: &str, digest: [u8; 32]) -> Result<Arc<Self>> {
        let folder = packs.path().join(isa);
        let fault = |source| Error::File {
            path: folder.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let name = entry.map_err(fault)?.file_name();
            if let Some(name) = name.to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        let names = names.into_iter().filter(|name| name.ends_with(".pack"));
        best(names, |name| {
            let path = folder.join(name);
            let pack = packs.open(&path)?;
            pack.is_of(isa, digest).map_err(|what| Error::Foreign {
                name: path.display().to_string(),
                what,
            })?;
            Ok(pack)
        })
    }

    /// Whether it is for that instruction set, in that version; else why not.
    fn is_of(&self, isa: &str, digest: [u8; 32]) -> Result<(), String> {
        let metadata = self.metadata();
        if metadata.isa != isa {
            let other = &metadata.isa;
            return Err(format!(
                "the pack is for instruction set {other}, not {isa}"
            ));
        }
        if metadata.isa_digest != digest {
            let begin = |digest: [u8; 32]| {
                let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
                digits.collect::<String>()
            };
            return Err(format!(
                "built for another version of the instruction set {isa} (digest {}…, this program has {}…): take the pack \
                 that belongs to this version, or rebuild it",
                begin(metadata.isa_digest),
                begin(digest)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(triple: &str) -> Key {
        Key::of(&Triple::from_str(triple).expect("a triple"))
    }

    #[test]
    fn equal_machines_have_equal_keys() {
        assert_eq!(key("x86_64-pc-linux-gnu"), key("x86_64-unknown-linux-gnu"));
        assert_eq!(key("arm64-apple-darwin"), key("aarch64-apple-macosx14.0.0"));
        assert_eq!(
            key("x86_64-unknown-linux-musl"),
            key("x86_64-unknown-linux-gnu")
        );
        assert_ne!(
            key("x86_64-unknown-linux-gnux32"),
            key("x86_64-unknown-linux-gnu")
        );
        assert_eq!(key("x86_64-pc-windows-gnu"), key("x86_64-pc-windows-msvc"));
        assert_ne!(key("x86_64-pc-windows-gnu"), key("x86_64-pc-linux-gnu"));
        assert_ne!(
            key("x86_64-unknown-linux-gnu"),
            key("aarch64-unknown-linux-gnu")
        );
    }

    #[test]
    fn a_file_name_gives_triple_and_features() {
        let (key_of_file, features) =
            Key::of_file("x86_64-unknown-linux-gnu+x86-64-v3.pack").expect("a pack's name");
        assert_eq!(key_of_file, key("x86_64-unknown-linux-gnu"));
        assert_eq!(features, "x86-64-v3");
        assert!(Key::of_file("README.md").is_none());
        let file = "x86_64-unknown-linux-gnu+x86-64-v3.pack";
        assert!(is_for(file, "x86_64-pc-linux-gnu"));
        assert!(is_for(file, "x86_64-unknown-linux-musl"));
        assert!(!is_for(file, "x86_64-unknown-linux-gnux32"));
        assert!(!is_for(file, "no triple") && !is_for("README.md", "no triple"));
    }

    /// Whatever the length of the triples that they are named with.
    #[test]
    fn feature_sets_come_before_the_baseline() {
        let host = host_triple();
        let short = host.replacen("-unknown-", "-", 1);
        let names = [
            format!("{short}+a.pack"),
            format!("{host}.pack"),
            format!("{host}+set-v4.pack"),
            format!("{host}+set-v3.pack"),
        ];
        let order = [2, 3, 0, 1].map(|at: usize| names[at].clone());
        assert_eq!(ranked(names.into_iter(), &key(&host)), order);
    }

    #[test]
    fn no_pack_is_an_error_that_names_the_host() {
        let error = Pack::for_host(&[]).expect_err("there are no packs");
        assert!(error.to_string().contains(&host_triple()), "{error}");
    }
}
