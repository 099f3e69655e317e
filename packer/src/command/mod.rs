//! The commands: each turns its arguments into an [`Outcome`].

pub(crate) mod output;
pub(crate) mod settings;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use copatch_packer::diff::{self, Side};
use copatch_packer::error::BuildError;
use copatch_packer::pipeline::{self, Request};
use copatch_packer::targets::{TargetName, known};
use copatch_packer::{doctor, files, inspect, sign, summary};
use copatch_spec::pack::{PackError, validate};
use serde_json::json;

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

/// `build`: one report a target.
pub(crate) fn build(settings: Settings, keep_going: bool) -> Result<Outcome, BuildError> {
    let missing = |what: &str| {
        BuildError::Usage(format!(
            "no {what} is named; give --{what}, or {what} in packer.toml"
        ))
    };
    let targets = targets_of(&settings);
    let isa = settings.isa.ok_or_else(|| missing("isa"))?;
    if targets.is_empty() {
        return Err(missing("target"));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.jobs.unwrap_or(0))
        .build()
        .map_err(|error| BuildError::Spec(error.to_string()))?;
    let (mut reports, mut text, mut failures) = (Vec::new(), String::new(), Vec::new());
    for target in targets {
        let request = Request {
            isa: isa.clone(),
            target,
            clang: settings.clang.clone(),
            launcher: settings.launcher.clone(),
        };
        let (name, bytes, mut report) = pool.install(|| pipeline::build(&request))?;
        if !report.failures.is_empty() && !keep_going {
            return Err(BuildError::Refused(report.failures));
        }
        let folder = settings.out.clone();
        let folder = folder.unwrap_or_else(|| Path::new("packs").join(&report.isa));
        let path = folder.join(name);
        files::replace(&path, &bytes).map_err(|source| BuildError::Io {
            path: path.clone(),
            source,
        })?;
        report.file = path.display().to_string();
        let _ = writeln!(text, "{report}");
        failures.extend(report.failures.iter().cloned());
        reports.push(report);
    }
    let mut outcome = Outcome::new(text, &reports)?;
    if !failures.is_empty() {
        let error = BuildError::Refused(failures);
        eprintln!("copatch-packer: {error}");
        outcome.code = error.exit_code();
    }
    Ok(outcome)
}

/// The targets that settings name; `all` stands for all that are known.
fn targets_of(settings: &Settings) -> Vec<TargetName> {
    let mut targets = Vec::new();
    for text in &settings.target {
        if text == "all" {
            targets.extend(known().into_iter().map(|target| target.name));
            continue;
        }
        let mut target = TargetName::parse(text);
        if target.features.is_empty() {
            target.features = settings.features.clone().unwrap_or_default();
        }
        targets.push(target);
    }
    targets
}

/// `inspect`.
pub(crate) fn inspect(path: &Path, op: Option<&str>, all: bool) -> Result<Outcome, BuildError> {
    let bytes = read(path)?;
    let fault = |source| in_file(path, source);
    match op {
        Some(op) => {
            let text = inspect::operation(&bytes, op, all).map_err(fault)?;
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
        Some(key) => Some(sign::check(path, &bytes, &key_text(key)?)?),
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

/// A key is given as itself or as the name of its file.
fn key_text(key: &str) -> Result<String, BuildError> {
    match Path::new(key).exists() {
        true => Ok(String::from_utf8_lossy(&read(Path::new(key))?).into_owned()),
        false => Ok(key.to_owned()),
    }
}

/// `keygen`.
pub(crate) fn keygen(secret: &Path, public: &Path, plain: bool) -> Result<Outcome, BuildError> {
    let password = std::env::var(PASSWORD).ok();
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
    let signer = sign::Signer::open(key, std::env::var(PASSWORD).ok())?;
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
