//! The command line of the packer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use copatch_packer::error::BuildError;
use copatch_packer::inspect;
use copatch_packer::pipeline::{Request, build};
use copatch_spec::pack::validate;

/// Compiles an instruction set with clang into stencil packs.
///
/// Exit codes: 0 done, 1 failure, 2 wrong usage, 3 no fit clang, 4 a stencil was refused.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the pack of an instruction set for a target.
    Build {
        /// A built-in instruction set (toy, wasm) or a folder with ops.toml and ops.h.
        #[arg(long, value_name = "NAME|DIR")]
        isa: String,
        /// Target triple, such as x86_64-unknown-linux-gnu.
        #[arg(long)]
        target: String,
        /// A feature set of the target, such as x86-64-v3.
        #[arg(long, default_value = "")]
        features: String,
        /// The compiler; else COPATCH_CLANG, clang-19, clang.
        #[arg(long, value_name = "PATH")]
        clang: Option<PathBuf>,
        /// How many jobs run at a time; else as many as there are processors.
        #[arg(short = 'j', value_name = "N", default_value_t = 0)]
        jobs: usize,
        /// Folder for the pack; else packs/<instruction set>.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Write the pack even if it lacks operations whose stencils were refused.
        #[arg(long)]
        keep_going: bool,
        /// How the report is written to standard output.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Shows a pack: header, operations, variants by axis, sizes; with --op the code of an operation, holes marked.
    Inspect {
        /// The pack file.
        pack: PathBuf,
        /// An operation, such as i32.add.
        #[arg(long, value_name = "NAME")]
        op: Option<String>,
        /// With --op: every register assignment, not one of each form.
        #[arg(long, requires = "op")]
        all: bool,
    },
    /// Checks a pack file in full.
    Verify {
        /// The pack file.
        pack: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("copatch-packer: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), BuildError> {
    match command {
        Command::Inspect { pack, op, all } => {
            let bytes = read(&pack)?;
            let text = match op {
                Some(op) => inspect::operation(&bytes, &op, all),
                None => inspect::summary(&bytes),
            };
            print(&text.map_err(|source| BuildError::PackFile { path: pack, source })?)
        }
        Command::Verify { pack } => {
            let bytes = read(&pack)?;
            let (_, metadata) = validate(&bytes).map_err(|source| BuildError::PackFile {
                path: pack.clone(),
                source,
            })?;
            print(&format!(
                "{}: valid: {} for {}, {} bytes\n",
                pack.display(),
                metadata.isa,
                metadata.triple,
                bytes.len()
            ))
        }
        Command::Build {
            isa,
            target,
            features,
            clang,
            jobs,
            out,
            keep_going,
            format,
        } => {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(jobs)
                .build()
                .map_err(|error| BuildError::Spec(error.to_string()))?;
            let request = Request {
                isa,
                triple: target,
                features,
                clang,
            };
            let (name, bytes, mut report) = pool.install(|| build(&request))?;
            if !report.failures.is_empty() && !keep_going {
                return Err(BuildError::Refused(report.failures));
            }
            let folder = out.unwrap_or_else(|| Path::new("packs").join(&report.isa));
            let path = folder.join(name);
            write_atomically(&folder, &path, &bytes)?;
            report.file = path.display().to_string();
            match format {
                Format::Human => println!("{report}"),
                Format::Json => {
                    let text = serde_json::to_string(&report)
                        .map_err(|error| BuildError::Spec(error.to_string()))?;
                    println!("{text}");
                }
            }
            if report.failures.is_empty() {
                Ok(())
            } else {
                Err(BuildError::Refused(report.failures))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::Io {
        path: path.to_owned(),
        source,
    })
}

fn print(text: &str) -> Result<(), BuildError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(BuildError::Io {
            path: "standard output".into(),
            source,
        }),
        Ok(()) => Ok(()),
    }
}

/// Whoever reads the file sees the old pack or the new one, never a part.
fn write_atomically(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let error = |source| BuildError::Io {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(error)?;
    let mut file = tempfile::Builder::new()
        .prefix(".pack-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.persist(path).map_err(|failure| error(failure.error))?;
    Ok(())
}
