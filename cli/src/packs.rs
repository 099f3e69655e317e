//! Where stencil packs come from, and whom they must be signed by.
#![allow(unsafe_code)] // `--unsigned` is the user's word for packs.

use std::path::{Path, PathBuf};

use clap::Args;
use copatch::{PackFolder, TrustedKeys};

use crate::{Failure, MISUSED};

/// Options of every command that compiles.
#[derive(Args)]
pub(crate) struct Packs {
    /// Take stencil packs from this folder instead of the built-in ones: those that are signed with a key of --trust.
    #[arg(long, value_name = "DIR")]
    packs: Option<PathBuf>,
    /// Trust packs signed with this key: minisign's public key file, or the key itself. May be given several times.
    #[arg(long, value_name = "KEY", requires = "packs")]
    trust: Vec<String>,
    /// Trust every pack in the folder as you trust this program, whether it is signed or not.
    #[arg(long, requires = "packs", conflicts_with = "trust")]
    unsigned: bool,
}

impl Packs {
    /// The folder, if one is named.
    pub(crate) fn folder(&self) -> Result<Option<PackFolder>, Failure> {
        let Some(path) = &self.packs else {
            return Ok(None);
        };
        if self.unsigned {
            // SAFETY: packs are machine code, and the user says that these may run here, as with `--plugin`.
            return Ok(Some(unsafe { PackFolder::unsigned(path) }));
        }
        if self.trust.is_empty() {
            return Err(Failure {
                code: MISUSED,
                line:
                    "--packs needs --trust KEY, or --unsigned for packs that you trust as a program"
                        .to_owned(),
            });
        }
        Ok(Some(PackFolder::signed(path, keys(&self.trust)?)))
    }
}

/// Public keys, each given as itself or as the name of its file.
pub(crate) fn keys(given: &[String]) -> Result<TrustedKeys, Failure> {
    let misused = |line: String| Failure {
        code: MISUSED,
        line,
    };
    let mut all = String::new();
    for key in given {
        // No key is the name of a file by accident.
        let file = Path::new(key);
        let keys = if file.exists() {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::of(file, error))?;
            TrustedKeys::parse(&text).map_err(|error| misused(format!("{key}: {error}")))?
        } else {
            // As much of it as a public key has: it may be a secret one.
            let told: String = key.chars().take(56).collect();
            TrustedKeys::parse(key)
                .map_err(|_| misused(format!("--trust {told}: neither a file nor a key")))?
        };
        all += &keys.to_string();
    }
    TrustedKeys::parse(&all).map_err(|error| misused(error.to_string()))
}
