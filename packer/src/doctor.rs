//! What of the toolchain is here, and what can be built with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::clang::{Clang, ClangError, PINNED, Unit};
use crate::prove::Prover;
use crate::targets::{TargetName, known};

/// What was looked at, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// One line each.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub subject: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found, or what is wrong.
    pub detail: String,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: String,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Packs can be built, but not the best ones.
    Limited,
    /// Packs cannot be built.
    Missing,
}

impl Diagnosis {
    /// Whether a pack can be built for one target at least.
    pub fn can_build(&self) -> bool {
        let compiles = |check: &Check| check.subject.starts_with("compile ");
        let mut targets = self.checks.iter().filter(|check| compiles(check));
        targets.any(|check| check.verdict != Verdict::Missing)
    }
}

/// What every stencil needs of a compiler.
const SAMPLE: &str = "
__attribute__((preserve_none)) long next(long a);
__attribute__((preserve_none)) long stencil(long a) { __attribute__((musttail)) return next(a + 1); }
";

/// Looks at the compiler, its linker, the launcher if there is one, and for every known target at what they can do.
pub fn diagnose(clang: Option<&Path>, launcher: Option<&Path>) -> Diagnosis {
    let mut checks = Vec::new();
    let mut found = None;
    for target in known() {
        let name = &target.name;
        let Ok((spec, set)) = name.resolve(None) else {
            continue;
        };
        let compiler = match Clang::find(clang, &name.triple, &spec, set.as_ref()) {
            Ok(compiler) => compiler.with_launcher(launcher.map(Path::to_owned)),
            Err(error) => {
                let remedy = "install clang 19 (Debian: apt install clang-19 lld-19), or name one with --clang";
                checks.push(Check::new(
                    "clang",
                    Verdict::Missing,
                    error.to_string(),
                    remedy,
                ));
                break;
            }
        };
        if found.is_none() {
            checks.push(version(&compiler));
            checks.push(linker(&compiler));
            found = Some(compiler.clone());
        }
        checks.push(compile(name, &compiler));
        checks.push(prove(name, &spec, &compiler));
    }
    Diagnosis { checks }
}

impl Check {
    fn new(subject: &str, verdict: Verdict, detail: impl Into<String>, remedy: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            detail: detail.into(),
            remedy: remedy.to_owned(),
        }
    }
}

fn version(clang: &Clang) -> Check {
    let detail = format!("{}: {}", clang.path().display(), clang.version);
    if clang.is_pinned() {
        return Check::new("clang", Verdict::Ok, detail, "");
    }
    let remedy = format!("packs that are compared byte for byte need clang {PINNED}");
    Check::new("clang", Verdict::Limited, detail, &remedy)
}

/// The proof harness is linked by lld.
fn linker(clang: &Clang) -> Check {
    let output = Command::new(clang.path())
        .arg("-print-prog-name=ld.lld")
        .stdin(Stdio::null())
        .output();
    let path = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match path {
        // Clang repeats the name where it finds no such program.
        Ok(path) if PathBuf::from(&path).is_absolute() => {
            Check::new("ld.lld", Verdict::Ok, path, "")
        }
        _ => Check::new(
            "ld.lld",
            Verdict::Limited,
            "clang finds none, so nothing is proven by execution",
            "install lld of clang's version (Debian: apt install lld-19)",
        ),
    }
}

fn compile(name: &TargetName, clang: &Clang) -> Check {
    let subject = format!("compile {name}");
    let unit = Unit {
        name: "sample.c".to_owned(),
        text: SAMPLE.to_owned(),
    };
    let compiled = clang.compile(vec![unit], "sample", |_, object| {
        Ok::<_, ClangError>(object.len())
    });
    match compiled {
        Ok(_) => Check::new(&subject, Verdict::Ok, "can compile stencils", ""),
        Err(error) => Check::new(
            &subject,
            Verdict::Missing,
            error.to_string(),
            "take a clang with this target, or another launcher",
        ),
    }
}

fn prove(name: &TargetName, target: &copatch_spec::Target, clang: &Clang) -> Check {
    let subject = format!("prove {name}");
    match Prover::new(target, clang.path()) {
        Ok(_) => Check::new(&subject, Verdict::Ok, "can execute stencils", ""),
        Err(error) => Check::new(
            &subject,
            Verdict::Limited,
            error.to_string(),
            "packs can be built; values for which clang writes other code are left out of their domains",
        ),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Limited => "limited",
                Verdict::Missing => "missing",
            };
            let mut detail = check.detail.lines();
            let first = detail.next().unwrap_or("");
            writeln!(f, "{verdict} {}: {first}", check.subject)?;
            for line in detail {
                writeln!(f, "          {line}")?;
            }
            if !check.remedy.is_empty() {
                writeln!(f, "          help: {}", check.remedy)?;
            }
        }
        Ok(())
    }
}
