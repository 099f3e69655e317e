//! Finds clang and runs it over translation units, several at a time.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use copatch_spec::target::{FeatureSet, Target};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::prelude::*;

/// The version that the committed packs are built with; only it gives the same bytes. Its file is read by scripts, too.
pub const PINNED: &str = include_str!("../clang-version").trim_ascii();

/// A compiler that was found and can compile for the target.
#[derive(Clone, Debug)]
pub struct Clang {
    path: PathBuf,
    launcher: Option<PathBuf>,
    /// What assembly gets behind the flags.
    assembler: String,
    /// The first line of `clang --version`.
    pub version: String,
    /// What every translation unit is compiled with.
    pub flags: Vec<String>,
}

/// What can go wrong with the compiler.
#[derive(Debug, thiserror::Error)]
pub enum ClangError {
    /// None of the candidates runs.
    #[error(
        "no clang found (tried {tried}); install clang 19, or name one with --clang or COPATCH_CLANG"
    )]
    Missing {
        /// The names that were tried.
        tried: String,
    },
    /// It runs, but is no clang, or too old for `preserve_none`.
    #[error("{path}: {version:?} is not clang 19 or newer, which preserve_none needs")]
    Unfit {
        /// The program.
        path: PathBuf,
        /// Its first line.
        version: String,
    },
    /// The program that is to start the compiler does not run.
    #[error("the launcher {path} does not run: {source}; install it, or leave --launcher out")]
    Launcher {
        /// The program.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It refused a translation unit.
    #[error("clang refused {unit}:\n{message}")]
    Refused {
        /// The unit's name.
        unit: String,
        /// The first lines of what it said.
        message: String,
    },
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A translation unit: C if its name ends in `.c`, assembly if it ends in `.s`.
#[derive(Clone, Debug)]
pub struct Unit {
    /// A file name, unique within one run.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What tells clang its target. It calls riscv64gc riscv64, with the extensions in a flag.
pub(crate) fn target_flag(triple: &str) -> String {
    format!("--target={}", triple.replacen("riscv64gc-", "riscv64-", 1))
}

impl Clang {
    /// Finds the compiler: the one named, else the one in `COPATCH_CLANG`, else `clang-19`, else `clang`.
    ///
    /// # Errors
    /// If there is none, or it is too old.
    pub fn find(
        named: Option<&Path>,
        triple: &str,
        target: &Target,
        features: Option<&FeatureSet>,
    ) -> Result<Self, ClangError> {
        let candidates: Vec<PathBuf> = match (named, std::env::var_os("COPATCH_CLANG")) {
            (Some(path), _) => vec![program(path)],
            (None, Some(path)) => vec![program(Path::new(&path))],
            (None, None) => vec!["clang-19".into(), "clang".into()],
        };
        let mut unfit = None;
        for path in &candidates {
            let Some(version) = version_line(path) else {
                continue;
            };
            if major(&version).is_none_or(|major| major < 19) {
                unfit.get_or_insert(ClangError::Unfit {
                    path: path.clone(),
                    version,
                });
                continue;
            }
            let mut flags = vec![target_flag(target.clang_triple(triple))];
            flags.extend(target.clang.flags.iter().cloned());
            flags.extend(features.iter().flat_map(|set| set.flags.iter().cloned()));
            return Ok(Self {
                path: path.clone(),
                launcher: None,
                assembler: target_flag(target.native_triple()),
                version,
                flags,
            });
        }
        Err(unfit.unwrap_or_else(|| ClangError::Missing {
            tried: candidates
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        }))
    }

    /// The same, with translation units compiled by `launcher CLANG ARGUMENTS`: sccache, distcc or icecc. What depends on
    /// this machine (the version, the proof) does without.
    #[must_use]
    pub fn with_launcher(mut self, launcher: Option<PathBuf>) -> Self {
        self.launcher = launcher.as_deref().map(program);
        self
    }

    /// Whether it is the version that committed packs are built with.
    pub fn is_pinned(&self) -> bool {
        version_of(&self.version) == Some(PINNED)
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compiles each unit and hands its object file to `read`, on as many threads as the current rayon pool has.
    /// Results come in the order of the units, whatever the number of threads.
    ///
    /// # Errors
    /// The error of a unit that failed.
    pub fn compile<T: Send, E: Send + From<ClangError>>(
        &self,
        units: Vec<Unit>,
        what: &str,
        read: impl Fn(&Unit, &[u8]) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let folder = tempfile::Builder::new()
            .prefix("copatch-packer-")
            .tempdir()
            .map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let bar = progress(units.len(), what);
        // Where a unit is refused, those that are left are not compiled.
        let results: Result<Vec<T>, E> = units
            .into_par_iter()
            .map(|unit| {
                let object = self.compile_one(folder.path(), &unit)?;
                bar.inc(1);
                read(&unit, &object)
            })
            .collect();
        bar.finish_and_clear();
        results
    }

    fn compile_one(&self, folder: &Path, unit: &Unit) -> Result<Vec<u8>, ClangError> {
        let object = format!("{}.o", unit.name);
        let (source_path, object_path) = (folder.join(&unit.name), folder.join(&object));
        std::fs::write(&source_path, &unit.text).map_err(|error| io_error(&source_path, error))?;
        let mut command = match &self.launcher {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command.arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        // Relative names and no environment that clang reads, so that nothing of this machine reaches the object.
        command
            .current_dir(folder)
            .env_remove("CPATH")
            .env_remove("C_INCLUDE_PATH")
            .env_remove("CCC_OVERRIDE_OPTIONS")
            .args(&self.flags);
        if unit.name.ends_with(".c") {
            // The generated code leaves dead registers uninitialised and casts holes on purpose.
            command.args(["-std=gnu11", "-w"]);
        } else {
            // Its bytes do not depend on the system, and only ELF has the sizes of functions and absolute fields of 32 bits.
            command.arg(&self.assembler);
        }
        let output = command
            .args(["-c", &unit.name, "-o", &object])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| match &self.launcher {
                Some(launcher) => ClangError::Launcher {
                    path: launcher.clone(),
                    source,
                },
                None => io_error(&self.path, source),
            })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(ClangError::Refused {
                unit: unit.name.clone(),
                message: message.lines().take(20).collect::<Vec<_>>().join("\n"),
            });
        }
        let bytes = std::fs::read(&object_path).map_err(|error| io_error(&object_path, error))?;
        // Tens of thousands of functions go through the folder; it need not hold them all.
        for path in [source_path, object_path] {
            std::fs::remove_file(&path).map_err(|error| io_error(&path, error))?;
        }
        Ok(bytes)
    }
}

/// A program by its name, or where its path leads from here: it is started in another folder.
fn program(path: &Path) -> PathBuf {
    if path.components().count() == 1 {
        return path.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn io_error(path: &Path, source: io::Error) -> ClangError {
    ClangError::Io {
        path: path.to_owned(),
        source,
    }
}

fn version_line(path: &Path) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// `Debian clang version 19.1.7 (3)` is version 19.1.7.
fn version_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("clang version ")?;
    rest.split_whitespace().next()
}

fn major(line: &str) -> Option<u32> {
    version_of(line)?.split('.').next()?.parse().ok()
}

/// A bar on stderr, if that is a terminal and nothing asks for plain output.
fn progress(steps: usize, what: &str) -> ProgressBar {
    let plain = ["NO_COLOR", "CI"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| value != OsStr::new("")));
    let bar = ProgressBar::with_draw_target(
        Some(steps as u64),
        if plain {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        },
    );
    if let Ok(style) =
        ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} units, {eta} left")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_line_gives_its_major_number() {
        assert_eq!(major("Debian clang version 19.1.7 (3~deb12u1)"), Some(19));
        assert_eq!(major("clang version 20.0.0"), Some(20));
        assert_eq!(major("gcc (Debian 12) 12.2.0"), None);
    }
}
