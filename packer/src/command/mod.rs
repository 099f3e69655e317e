//! The commands: each turns its arguments into an [`Outcome`].

mod build;
pub(crate) mod output;
pub(crate) mod settings;

use std::env::VarError;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use copatch_packer::diff::{self, Side};
use copatch_packer::error::BuildError;
use copatch_packer::targets::known;
use copatch_packer::{doctor, inspect, sign, summary};
use copatch_spec::pack::{PackError, validate};
use serde_json::json;

pub(crate) use build::build;
use output::Outcome;
use settings::Settings;

/// The variable that a secret key's password is taken from.
const PASSWORD: &str = "COPATCH_KEY_PASSWORD";

/// The settings from flags, environment and file.
pub(crate) fn settings(
    settings: Settings,
    config: Option<PathBuf>,
) -> Result<Settings, BuildError> {
    settings.over_file(config.as_deref())
}

/// `inspect`.
pub(crate) fn inspect(path: &Path, op: Option<&str>, all: bool) -> Result<Outcome, BuildError> {
    let bytes = read(path)?;
    let fault = |source| in_file(path, source);
    match op {
        Some(op) => {
            let text = inspect::operation(&bytes, op, all).map_err(fault)?;
            let text = text.ok_or_else(|| {
                let file = path.display();
                BuildError::Usage(format!("{file}: no operation is called {op}"))
            })?;
            Outcome::new(text.as_str(), &json!({ "op": op, "listing": text }))
        }
        None => {
            let summary = summary::summary(&bytes).map_err(fault)?;
            Outcome::new(summary.to_string(), &summary)
        }
    }
}

/// `verify`: of the pack, and of its signature if a key is given.
pub(crate) fn verify(path: &Path, key: Option<&str>) -> Result<Outcome, BuildError> {
    let bytes = read(path)?;
    let (_, metadata) = validate(&bytes).map_err(|source| in_file(path, source))?;
    let signed = match key {
        Some(key) => {
            let (named, key) = public_key(key)?;
            Some(sign::check(path, &bytes, &named, &key)?)
        }
        None => None,
    };
    let (isa, triple, length) = (&metadata.isa, &metadata.triple, bytes.len());
    let file = path.display().to_string();
    let mut text = format!("{file}: valid: {isa} for {triple}, {length} bytes\n");
    if let Some(comment) = &signed {
        let _ = writeln!(text, "{file}: signed: {comment}");
    }
    Outcome::new(
        text,
        &json!({
            "file": file,
            "isa": isa,
            "triple": triple,
            "features": metadata.features,
            "bytes": length,
            "signed": signed,
        }),
    )
}

/// A key, which is given as itself or as the name of its file, after what it is called in errors.
fn public_key(key: &str) -> Result<(String, String), BuildError> {
    if Path::new(key).exists() {
        let text = String::from_utf8_lossy(&read(Path::new(key))?).into_owned();
        return Ok((key.to_owned(), text));
    }
    // As much of it as a public key has: it may be a secret one.
    let told: String = key.chars().take(56).collect();
    let named = format!("--key {told}, which is no file");
    Ok((named, key.to_owned()))
}

/// The password of a secret key. What a build machine does not know is empty there, so that is no password.
fn password() -> Result<Option<String>, BuildError> {
    match std::env::var(PASSWORD) {
        Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(BuildError::Usage(format!("{PASSWORD} is not UTF-8"))),
    }
}

/// `keygen`.
pub(crate) fn keygen(secret: &Path, public: &Path, plain: bool) -> Result<Outcome, BuildError> {
    let password = password()?;
    if password.is_none() && !plain {
        let what = format!("give a password in {PASSWORD}, or --no-password");
        return Err(BuildError::Usage(what));
    }
    sign::generate(secret, public, password.filter(|_| !plain))?;
    let (secret, public) = (secret.display(), public.display());
    Outcome::new(
        format!("{secret}: secret key; keep it\n{public}: public key; give it to who trusts you\n"),
        &json!({ "secret": secret.to_string(), "public": public.to_string() }),
    )
}

/// `sign`.
pub(crate) fn sign(packs: &[PathBuf], key: &Path) -> Result<Outcome, BuildError> {
    let signer = sign::Signer::open(key, password()?)?;
    let mut signatures = Vec::new();
    for pack in packs {
        signatures.push(signer.sign(pack)?.display().to_string());
    }
    let text = signatures.iter().map(|path| format!("{path}\n"));
    Outcome::new(
        text.collect::<String>(),
        &json!({ "signatures": signatures }),
    )
}

/// `diff`.
pub(crate) fn diff(old: &Path, new: &Path) -> Result<Outcome, BuildError> {
    let diff = diff::diff(&read(old)?, &read(new)?).map_err(|side| match side {
        Side::Old(source) => in_file(old, source),
        Side::New(source) => in_file(new, source),
    })?;
    let mut outcome = Outcome::new(diff.to_string(), &diff)?;
    outcome.code = u8::from(!diff.changes.is_empty());
    Ok(outcome)
}

/// `targets`.
pub(crate) fn targets() -> Result<Outcome, BuildError> {
    let known = known();
    let text = known.iter().map(|target| format!("{target}\n"));
    Outcome::new(text.collect::<String>(), &known)
}

/// `doctor`.
pub(crate) fn doctor(settings: &Settings) -> Result<Outcome, BuildError> {
    let diagnosis = doctor::diagnose(settings.clang.as_deref(), settings.launcher.as_deref());
    let mut outcome = Outcome::new(diagnosis.to_string(), &diagnosis)?;
    outcome.code = if diagnosis.can_build() { 0 } else { 3 };
    Ok(outcome)
}

fn in_file(path: &Path, source: PackError) -> BuildError {
    let path = path.to_owned();
    BuildError::PackFile { path, source }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::Io {
        path: path.to_owned(),
        source,
    })
}
