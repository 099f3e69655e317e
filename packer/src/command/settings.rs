//! What a build is told: by flags, else by the environment, else by `packer.toml`.

use std::path::{Path, PathBuf};

use clap::Args;
use copatch_packer::error::BuildError;
use serde::Deserialize;

/// The file that is read where none is named, in the folder that the command runs in.
const FILE: &str = "packer.toml";

/// One setting a field: a flag, a variable of the environment, and a key of the file. Names and paths mean the same in all three.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// A built-in instruction set (toy, wasm) or a folder with ops.toml and ops.h.
    #[arg(long, value_name = "NAME|DIR", env = "COPATCH_ISA")]
    pub isa: Option<String>,
    /// Target triples, each with a feature set or without, such as x86_64-unknown-linux-gnu+x86-64-v3; all of them: all.
    #[arg(
        long,
        value_name = "TRIPLE[+FEATURES]",
        env = "COPATCH_TARGET",
        value_delimiter = ','
    )]
    pub target: Vec<String>,
    /// The feature set of targets that are named without one, such as x86-64-v3.
    #[arg(long, env = "COPATCH_FEATURES")]
    pub features: Option<String>,
    /// A file like spec/target/ARCH/target.toml with what is different about the targets.
    #[arg(long, value_name = "FILE", env = "COPATCH_TARGET_FILE")]
    pub target_file: Option<PathBuf>,
    /// The compiler; else clang-19, clang.
    #[arg(long, value_name = "PATH", env = "COPATCH_CLANG")]
    pub clang: Option<PathBuf>,
    /// A program that starts the compiler: sccache, distcc, icecc.
    #[arg(long, value_name = "PATH", env = "COPATCH_LAUNCHER")]
    pub launcher: Option<PathBuf>,
    /// How many jobs run at a time, up to 512; else as many as there are processors.
    #[arg(short = 'j', long, value_name = "N", env = "COPATCH_JOBS")]
    pub jobs: Option<usize>,
    /// Folder for the packs; else packs/<instruction set>.
    #[arg(long, value_name = "DIR", env = "COPATCH_OUT")]
    pub out: Option<PathBuf>,
}

impl Settings {
    /// These settings, and where they say nothing those of the file. (Clap has put the environment below the flags.)
    pub fn over_file(self, named: Option<&Path>) -> Result<Self, BuildError> {
        let path = named.unwrap_or(Path::new(FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(self);
            }
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                return Err(BuildError::Usage(what));
            }
        };
        let file: Self = toml::from_str(&text)
            .map_err(|error| BuildError::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self {
            isa: self.isa.or(file.isa),
            target: if self.target.is_empty() {
                file.target
            } else {
                self.target
            },
            features: self.features.or(file.features),
            target_file: self.target_file.or(file.target_file),
            clang: self.clang.or(file.clang),
            launcher: self.launcher.or(file.launcher),
            jobs: self.jobs.or(file.jobs),
            out: self.out.or(file.out),
        })
    }
}
