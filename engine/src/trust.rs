//! Who answers for pack files: keys that the application trusts, or the application itself.
//!
//! A pack is machine code, and what checks of it find is damage, not malice. So a file is opened if it is signed with a key
//! that the application names, or through an `unsafe` function whose caller answers for it. Signatures are those of the program
//! `minisign`, in a file beside the pack.
#![allow(unsafe_code)] // Declares what its caller answers for; nothing here is unsafe by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use copatch_spec::pack::signature_file;
use minisign_verify::{PublicKey, Signature};

use crate::error::{Error, Result};
use crate::pack::Pack;

/// Public keys whose holders an application trusts as it trusts itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<(String, PublicKey)>,
}

impl TrustedKeys {
    /// Reads keys: the content of one or several of minisign's public key files, or the keys alone, one a line.
    ///
    /// # Errors
    /// [`Error::Key`] where a line is no key, or there is none.
    ///
    /// ```
    /// let keys = copatch::TrustedKeys::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")?;
    /// assert_eq!(keys.to_string(), "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n");
    /// # Ok::<(), copatch::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let is_key =
            |(_, line): &(u32, &str)| !line.is_empty() && !line.starts_with("untrusted comment:");
        let keys = lines.filter(is_key).map(|(number, line)| {
            // Without the line, which may be a secret key.
            let key = PublicKey::from_base64(line).map_err(|error| Error::Key {
                what: format!("line {number}: {error}"),
            })?;
            Ok((line.to_owned(), key))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(Error::Key {
                what: "there is none".to_owned(),
            });
        }
        Ok(Self { keys })
    }

    /// Checks that one of the keys signed `bytes`. `name` stands for them in errors, `signature` is the content of a signature file.
    ///
    /// # Errors
    /// [`Error::Untrusted`].
    pub fn check(&self, name: &str, bytes: &[u8], signature: &str) -> Result<()> {
        let untrusted = |what: &str| Error::Untrusted {
            name: name.to_owned(),
            what: what.to_owned(),
        };
        let signature = Signature::decode(signature)
            .map_err(|_| untrusted("its signature is damaged, or no signature of minisign's"))?;
        let mut what = "it is signed with a key that is not trusted";
        for (_, key) in &self.keys {
            match key.verify(bytes, &signature, false) {
                Ok(()) => return Ok(()),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                // Two keys may have the same number, by accident or not.
                Err(_) => what = "its signature is not one of these bytes",
            }
        }
        Err(untrusted(what))
    }
}

/// The keys, one a line: what [`TrustedKeys::parse`] reads.
impl std::fmt::Display for TrustedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.keys
            .iter()
            .try_for_each(|(key, _)| writeln!(f, "{key}"))
    }
}

/// A folder of pack files, `<folder>/<instruction set>/<triple>[+features].pack`, and who answers for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFolder {
    path: PathBuf,
    keys: Option<TrustedKeys>,
}

impl PackFolder {
    /// A folder whose packs are opened if one of these keys signed them.
    pub fn signed(path: impl Into<PathBuf>, keys: TrustedKeys) -> Self {
        Self {
            path: path.into(),
            keys: Some(keys),
        }
    }

    /// A folder whose packs are opened, signed or not.
    ///
    /// # Safety
    /// Every pack in the folder must be trusted as one trusts a program: its code runs in this process.
    pub unsafe fn unsigned(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keys: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that packs must be signed with; `None` if they need not be signed.
    pub fn keys(&self) -> Option<&TrustedKeys> {
        self.keys.as_ref()
    }

    /// Opens a file of the folder after checking it in full.
    pub(crate) fn open(&self, path: &Path) -> Result<Arc<Pack>> {
        match &self.keys {
            Some(keys) => Pack::read_signed(path, keys),
            // SAFETY: who made this value answers for the folder's packs.
            None => unsafe { Pack::from_bytes(&path.display().to_string(), read(path)?) },
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

impl Pack {
    /// Reads a pack file and its signature (`<file>.minisig`) into memory, and opens the pack if one of `keys` signed it, after
    /// checking it in full.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Untrusted`] or [`Error::Pack`].
    pub fn read_signed(path: &Path, keys: &TrustedKeys) -> Result<Arc<Self>> {
        let name = path.display().to_string();
        let bytes = read(path)?;
        let signature = signature_file(path);
        let signature = match std::fs::read_to_string(&signature) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Untrusted {
                    name,
                    what: format!("it is not signed: there is no {}", signature.display()),
                });
            }
            Err(source) => {
                return Err(Error::File {
                    path: signature,
                    source,
                });
            }
            Ok(signature) => signature,
        };
        Self::from_signed(&name, bytes, &signature, keys)
    }

    /// Opens a pack from memory if one of `keys` signed it, after checking it in full. `signature` is the content of a
    /// signature file, `name` stands for the pack in errors.
    ///
    /// # Errors
    /// [`Error::Untrusted`] or [`Error::Pack`].
    pub fn from_signed(
        name: &str,
        bytes: Vec<u8>,
        signature: &str,
        keys: &TrustedKeys,
    ) -> Result<Arc<Self>> {
        keys.check(name, &bytes, signature)?;
        // SAFETY: who holds the key answers for the pack, and the application for the key.
        unsafe { Self::from_bytes(name, bytes) }
    }
}
