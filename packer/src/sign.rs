//! Keys and signatures of packs, in the formats of the program `minisign`: what one writes the other reads.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::files::replace;
use copatch_spec::pack::{PackError, signature_file, validate};
use minisign::{KeyPair, PError, PublicKey, SecretKey, SecretKeyBox, SignatureBox};

/// Why there is no key or no signature, or why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file cannot be read or written; for a key that is to be written, it may be there already.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A key that cannot be made or used.
    #[error("{what}: {source}")]
    Key {
        /// Which.
        what: String,
        /// The cause.
        source: PError,
    },
    /// Only packs in order are signed.
    #[error("{}: {source}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: PackError,
    },
    /// The signature is not one of this file with this key.
    #[error("{}: the signature does not fit: {source}", path.display())]
    Signature {
        /// The pack file.
        path: PathBuf,
        /// The cause.
        source: PError,
    },
}

/// Makes a key pair and writes it to two new files, the secret one readable by its owner alone. With a password the secret
/// key is encrypted.
///
/// # Errors
/// [`SignError::Io`], also where one of the files exists; nothing is overwritten.
pub fn generate(secret: &Path, public: &Path, password: Option<String>) -> Result<(), SignError> {
    let fault = |source| SignError::Key {
        what: "a new key".to_owned(),
        source,
    };
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(fault)?;
    let secret_text = pair.sk.to_box(None).map_err(fault)?.into_string();
    let public_text = pair.pk.to_box().map_err(fault)?.into_string();
    write_new(secret, secret_text.as_bytes(), 0o600)?;
    write_new(public, public_text.as_bytes(), 0o644).inspect_err(|_| {
        // One without the other is of no use, and would be in the way of the next try.
        let _ = std::fs::remove_file(secret);
    })
}

/// Who signs.
pub struct Signer {
    key: SecretKey,
}

impl Signer {
    /// Reads a secret key; the password is for one that is encrypted. Without one it is asked for on the terminal.
    ///
    /// # Errors
    /// If the file cannot be read or is no secret key, or the password is another.
    pub fn open(path: &Path, password: Option<String>) -> Result<Self, SignError> {
        let text = read(path)?;
        let text = String::from_utf8_lossy(&text);
        let parse = || SecretKeyBox::from_string(&text);
        let plain = parse().and_then(SecretKeyBox::into_unencrypted_secret_key);
        let key = plain.or_else(|_| parse().and_then(|key| key.into_secret_key(password)));
        let key = key.map_err(|source| SignError::Key {
            what: path.display().to_string(),
            source,
        })?;
        Ok(Self { key })
    }

    /// Checks a pack file in full and writes its signature beside it, with what the pack is as the trusted comment.
    ///
    /// # Errors
    /// If the file is no valid pack, or a file cannot be read or written.
    pub fn sign(&self, pack: &Path) -> Result<PathBuf, SignError> {
        let bytes = read(pack)?;
        let (_, metadata) = validate(&bytes).map_err(|source| SignError::Pack {
            path: pack.to_owned(),
            source,
        })?;
        let (isa, version) = (&metadata.isa, metadata.isa_version);
        let comment = format!("stencil pack of {isa} {version} for {}", metadata.target());
        let signature = minisign::sign(None, &self.key, bytes.as_slice(), Some(&comment), None)
            .map_err(|source| SignError::Signature {
                path: pack.to_owned(),
                source,
            })?;
        let path = signature_file(pack);
        let text = signature.into_string();
        replace(&path, text.as_bytes()).map_err(|source| io_error(&path, source))?;
        Ok(path)
    }
}

/// Checks the signature beside a pack file with a public key: the key's text, or the content of its file. `named` stands for the key
/// in errors. Gives the trusted comment.
///
/// # Errors
/// If there is no signature, or it does not fit.
pub fn check(pack: &Path, bytes: &[u8], named: &str, key: &str) -> Result<String, SignError> {
    let last = key.lines().rfind(|line| !line.trim().is_empty());
    let key = PublicKey::from_base64(last.unwrap_or("").trim());
    let key = key.map_err(|source| SignError::Key {
        what: named.to_owned(),
        source,
    })?;
    let text = read(&signature_file(pack))?;
    let fault = |source| SignError::Signature {
        path: pack.to_owned(),
        source,
    };
    let signature = SignatureBox::from_string(&String::from_utf8_lossy(&text)).map_err(fault)?;
    minisign::verify(&key, &signature, io::Cursor::new(bytes), true, false, false)
        .map_err(fault)?;
    signature.trusted_comment().map_err(fault)
}

fn read(path: &Path) -> Result<Vec<u8>, SignError> {
    std::fs::read(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> SignError {
    let path = path.to_owned();
    SignError::Io { path, source }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SignError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|source| io_error(path, source))
}
